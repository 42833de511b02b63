"""The console in a real browser, headless: main paths, hostile names, languages, keys, narrow screens."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demand.dataset import Dataset
from modeling.registry import SWEEPS, TRAINING, Registry
from serving.keys import KeyFile
from serving.schemas import CustomerRecord
from tests.serving.conftest import AS_OF
from tests.serving.console_stub import CUSTOMERS, HOSTILE, ITEMS, SCRIPT, Stub, record, running_stub

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt install chromium)")
PAGES = ("customer", "forecast", "audience", "models", "fleet")
REFUSED = "Failed to load resource"
"""What a browser says of every 4xx."""
MOST_MILLISECONDS = 30_000
expect.set_options(timeout=MOST_MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # tests may run as root
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Stub:
    running.reset()
    return running


class Window:
    """A page of a browser, and all that it complained of."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self._context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(MOST_MILLISECONDS)
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("a script ran"), dialog.dismiss()))
        self.page.goto(f"{url}/console")

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *failed: Any) -> None:
        elsewhere = self.page.locator("img[src=x], main script").count()
        self._context.close()
        if not any(failed):
            assert [each for each in self.complaints if REFUSED not in each] == []
            assert elsewhere == 0


def show_customer(page: Page, customer_id: str = "c01") -> None:
    page.get_by_label("Customer id").fill(customer_id)
    page.locator("#customer-as-of").fill("2024-06-01")
    page.locator("#customer-horizon").fill("28")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#customer-result h2")).to_have_text(customer_id)


def show_forecast(page: Page) -> None:
    page.get_by_role("link", name="Forecast").click()
    page.locator("#forecast-as-of").fill("2024-06-01")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#forecast-result table")).to_be_visible()


def gather_audience(page: Page) -> None:
    page.get_by_role("link", name="Audience").click()
    page.get_by_label("Or an item").fill(HOSTILE)
    page.get_by_role("button", name="Add").click()
    page.locator("#audience-as-of").fill("2024-06-01")
    page.get_by_role("button", name="Gather").click()
    expect(page.locator("#audience-result table")).to_be_visible()


def row(page: Page, name: str) -> list[str]:
    """Cells of the row of a table that a name heads."""
    header = page.get_by_role("rowheader", name=name, exact=True)
    return header.locator("xpath=../*").all_inner_texts()


def test_the_console_of_a_real_endpoint(
    browser: Browser, client: httpx.Client, keys: KeyFile, shop: Dataset, registry_folder: Path
) -> None:
    """First, for Ray Serve does not start where Playwright's event loop runs."""
    registry = Registry(registry_folder)
    run = registry.log_run(TRAINING, "train-1", {"data": "0123", "prompt_format": "profile"}, {"ndcg@10": 0.3})
    registry.register("demand", "/models/1", run, {"ndcg@10": 0.3})
    sweep = registry.log_run(SWEEPS, "sweep-1", {"trials": 1}, {"ndcg@10": 0.3})
    registry.log_run(SWEEPS, "trial-1", {"training.learning_rate": 0.001}, {"ndcg@10": 0.3}, parent=sweep)
    customer = next(iter(shop.customers(before=AS_OF)))
    _, key = keys.create("console", scope="admin")

    with Window(browser, str(client.base_url)) as page:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use").click()
        page.get_by_text("A record instead").click()
        page.locator("#customer-record").fill(CustomerRecord.of(customer).model_dump_json())
        page.locator("#customer-as-of").fill("2024-06-01")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#customer-result h2")).to_have_text(customer.customer_id)
        assert page.locator("#customer-result tbody").first.locator("tr").count() == 10
        assert re.match(r"Answered by demand@3", page.locator("#customer-result > p.hint").last.inner_text())

        page.get_by_role("link", name="Models").click()
        expect(page.get_by_role("rowheader", name="demand@1")).to_be_visible()
        assert row(page, "trial-1")[1:3] == ["0.001", "0.3000"]
        page.get_by_role("link", name="Fleet").click()
        expect(page.get_by_role("rowheader", name="demand@3")).to_be_visible()

        page.goto(f"{client.base_url}/docs")  # which tells of every route, and comes from nowhere else
        expect(page.get_by_role("heading", name="demandcast")).to_be_visible()
        paths = client.get("/openapi.json").json()["paths"]
        expect(page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))


def test_a_customers_history_stands_beside_what_is_expected_and_why(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        show_customer(page, HOSTILE)

        (asked,) = stub.bodies("/v1/predict")
        times = [order["ts"] for order in asked["customer"]["purchase_history"]]
        assert max(times) == "2024-05-22T08:00:00Z"
        assert (asked["as_of"], asked["horizon_days"], asked["explain"]) == ("2024-06-01T00:00:00Z", 28, True)
        assert row(page, "Milk")[1:5] == ["90.0%", "1.50", "2.50", "yes"]
        assert row(page, HOSTILE)[4] == "yes"
        page.get_by_role("cell").get_by_text(f"bought 3 times, {HOSTILE}").first.click()
        expect(page.get_by_text("May 22, 2024 · order").first).to_be_visible()
        expect(page.get_by_text("profile · -1.2%").first).to_be_visible()
        assert page.locator("svg .order").count() == len(record("")["purchase_history"])
        assert page.locator("svg .purchase.later").count() == 9 + 3  # milk, and the others on the day with everything
        page.get_by_text("All events").click()
        expect(page.get_by_role("cell", name=f"{HOSTILE} 4/5 {SCRIPT}")).to_be_visible()


def test_without_a_log_of_events_a_record_is_pasted(browser: Browser, stub: Stub) -> None:
    stub.log = False
    with Window(browser, stub.url) as page:
        page.get_by_label("Customer id").fill("c01")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("alert")).to_contain_text("there is no event log")

        page.get_by_text("A record instead").click()
        page.locator("#customer-record").fill('{"customer_id": "mine", "purchase_history": [{"ts": "2024-05-01"}]}')
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("alert")).to_contain_text("“items” is no list")

        page.locator("#customer-record").fill('{"customer": {"customer_id": "mine"}, "as_of": "2024-06-01"}')
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#customer-result h2")).to_have_text("mine")
        assert stub.bodies("/v1/predict")[0]["as_of"] == "2024-06-01"


def test_a_forecast_stands_beside_what_happened(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        show_forecast(page)

        (asked,) = stub.bodies("/v1/forecast")
        assert asked["customers"] == CUSTOMERS
        # Within the 28 days each bought 2 of milk five times (June 1, 8, 15, 22 at eight o'clock, and the 3rd).
        name, expected, half, *_, bought, amount = row(page, "Milk")
        assert (name, expected, bought, amount) == ("Milk", "160.0", "210", "320.00")
        assert re.findall(r"[\d.]+", half) == ["150.0", "170.0"]
        assert row(page, HOSTILE)[5] == "42"
        assert page.locator("svg .truth").count() == len(ITEMS)
        expect(page.locator("#forecast-result")).to_contain_text("0.0% · 0.0% · 25.0%")


def test_a_forecast_week_by_week_stands_beside_what_each_week_brought(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        page.get_by_role("link", name="Forecast").click()
        page.get_by_label("Week by week").focus()
        page.keyboard.press("Space")
        show_forecast(page)

        (asked,) = stub.bodies("/v1/forecast")
        assert asked["weeks"] is True
        # Weeks begin on June 1: 2 of milk on the 1st and the 3rd, on the 8th, the 15th and the 22nd, by 21 customers.
        for name, sold in (("Milk", ["84", "42", "42", "42"]), (HOSTILE, ["42", "0", "0", "0"])):
            rows = page.get_by_role("rowheader", name=name, exact=True).locator("xpath=../*[last()-1]")
            assert rows.all_inner_texts() == sold
        assert row(page, "Milk")[1] == "1"
        assert page.locator("svg .truth").count() == 4 * len(ITEMS)
        expect(page.locator("#forecast-result caption")).to_have_text(
            f"Units, the {len(ITEMS)} largest of {len(ITEMS)} groups"
        )
        expect(page.locator("svg .row-name").nth(1)).to_have_text("Week 2: Milk")


def test_a_forecast_is_of_those_who_were_named_or_came_in_a_file(browser: Browser, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("\n".join(json.dumps(record(each)) for each in ("x", "y")))
    with Window(browser, stub.url) as page:
        page.get_by_role("link", name="Forecast").click()
        page.locator("#forecast-as-of").fill("2024-06-01")
        page.get_by_label("One a line", exact=True).fill("c03\nc04\nc03\n")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#forecast-result table")).to_be_visible()
        page.get_by_label("JSON: a list").set_input_files(tmp_path / "records.jsonl")
        page.get_by_label("How many", exact=True).focus()
        with page.expect_response("**/v1/forecast"):
            page.keyboard.press("Enter")

        named, filed = stub.bodies("/v1/forecast")
        assert named["customers"] == ["c03", "c04"]
        assert [each["customer_id"] for each in filed["customers"]] == ["x", "y"]
        assert max(order["ts"] for order in filed["customers"][0]["purchase_history"]) == "2024-05-22T08:00:00Z"


def test_an_audience_is_gathered_and_leads_to_its_members(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        gather_audience(page)

        (asked,) = stub.bodies("/v1/audience")
        assert (asked["items"], asked["size"], asked["horizon_days"]) == ([HOSTILE], 20, 28)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[:2] == ["customer_id,probability", f'"{HOSTILE}",0.5']
        page.get_by_role("link", name="c00").click()
        expect(page.locator("#customer-result h2")).to_have_text("c00")
        assert stub.bodies("/v1/predict")[0]["as_of"] == "2024-06-01T00:00:00Z"


def test_models_and_sweeps_are_listed_with_their_quality(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        page.get_by_role("link", name="Models").click()

        expect(page.get_by_role("rowheader", name="demand@2")).to_be_visible()
        assert row(page, "demand@2")[1:3] == ["champion", "0.3200"]
        assert [each.inner_text() for each in page.locator("details tbody th").all()] == ["t2", "t1", "t0"]
        assert page.locator("svg .dot").count() == 2 + 3 + 3


def test_the_fleet_is_followed_while_it_is_in_sight(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        page.clock.install()
        page.get_by_role("link", name="Fleet").click()

        expect(page.locator("#fleet-result")).to_contain_text("2 of 3 running")
        assert row(page, "demand@3")[1:3] == ["10.0%", "10"]
        with page.expect_response("**/v1/status"):
            page.clock.run_for(3_500)
        page.get_by_role("link", name="Models").click()
        expect(page.locator("#models-result table").first).to_be_visible()
        before = len(stub.bodies("/v1/status"))
        page.clock.run_for(20_000)
        page.wait_for_timeout(100)
        assert len(stub.bodies("/v1/status")) == before


def test_a_key_is_asked_for_sent_and_kept_by_the_tab_alone(browser: Browser, stub: Stub) -> None:
    stub.key = "dc_secret"
    with Window(browser, stub.url) as page:
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_role("alert")).to_contain_text("wants a good API key")
        expect(page.get_by_label("API key")).to_be_focused()
        page.keyboard.type("dc_secret")
        page.keyboard.press("Enter")
        expect(page.locator("#models-result table").first).to_be_visible()
        expect(page.get_by_role("alert")).to_be_empty()

        assert stub.asked[-1][2] == "Bearer dc_secret"
        kept = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
        assert kept == [["dc_secret"], [], ""]
        assert page.get_by_label("API key").input_value() == ""


def test_language_and_theme_follow_the_browser_until_they_are_chosen(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url, locale="zh-CN", color_scheme="dark") as page:
        expect(page.get_by_role("heading", level=1, name="单个客户")).to_be_visible()
        paper = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(paper) == "rgb(20, 23, 28)"
        page.get_by_label("主题").select_option("light")
        page.get_by_label("语言").select_option("en")
        show_customer(page)
        page.get_by_label("Language").select_option("zh")
        expect(page.get_by_text("上次在 10 天前").first).to_be_visible()

        page.reload()
        expect(page).to_have_title("客户 | demandcast")
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_the_keyboard_alone_reaches_an_answer_and_focus_follows_the_page(browser: Browser, stub: Stub) -> None:
    with Window(browser, stub.url) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Customer id")).to_be_focused()
        page.keyboard.type("c01")
        page.keyboard.press("Enter")
        expect(page.locator("#customer-result h2")).to_have_text("c01")
        page.get_by_role("link", name="Forecast").press("Enter")
        expect(page.get_by_role("heading", name="What customers buy together")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_narrow_and_wide_screens_and_has_no_barrier_that_axe_knows(
    browser: Browser, stub: Stub, theme: str
) -> None:
    with Window(browser, stub.url, color_scheme=theme, reduced_motion="reduce") as page:
        show_customer(page)
        show_forecast(page)
        gather_audience(page)
        for name in PAGES:
            page.locator(f"nav a[href='#{name}']").click()
            expect(page.locator(f"#{name}-result table").first).to_be_visible()
            for width in (360, 768, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            found = Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
