"""The report page: one file that needs no network, and in which data is never markup."""

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from demand.errors import SettingsError
from demand.protocols import Cutoff
from ray_app.output import check_file
from ray_app.reports.card import card_page
from ray_app.reports.figures import totals_scatter
from ray_app.reports.page import Grid, Page, Section
from ray_app.reports.sweep import sweep_page
from training.run import Plan
from training.settings import Settings
from tuning.plan import SweepPlan, Trial
from tuning.space import FORMAT, RATE

EVIL = "</script><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """The elements of a page, and the text of its table cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.found or self.found[-1][0] != "script":
            self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    figure = totals_scatter([EVIL, "milk"], np.array([2.0, 3.0]), np.array([1.0, 4.0]), "quantity")
    section = Section(EVIL, EVIL, [figure, figure], [Grid(["", EVIL], [["model", EVIL]], EVIL)])
    return Page(EVIL, [EVIL], [section]).html()


def test_a_page_needs_no_network(page: str) -> None:
    elements = Elements(page).found

    assert not [attributes for _, attributes in elements if {"src", "href"} & set(attributes)]
    assert "Plotly.newPlot" in page
    assert not re.search(r"@import|url\(", page[: page.index("</style>")])


def test_names_are_text_wherever_they_stand(page: str) -> None:
    elements = Elements(page)

    # the page's title twice, the fact, the section's title and text, the table's title, its column and its cell
    assert elements.text.count(EVIL) == 8
    assert "img" not in {tag for tag, _ in elements.found}
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page[page.index("application/json") :]  # what Plotly is given


def test_a_report_lies_in_a_folder_that_is_made(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "report.html"

    check_file("--report", file)
    Page("title", []).write(file)

    assert file.read_text().startswith("<!DOCTYPE html>")
    assert [each.name for each in file.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for impossible in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(SettingsError, match="--report"):
            check_file("--report", impossible)


def test_a_sweeps_report_shows_every_trial_and_what_mattered() -> None:
    plan = Plan(data=Path("nowhere"), settings=Settings(), protocol=Cutoff(cutoff=0))
    space = {RATE: {"low": 1e-4, "high": 1e-1, "log": True}, "prompt.gaps": ["token", "none"], "model.dropout": 0.1}
    sweep = SweepPlan.model_validate({"plan": plan, "space": space, "trials": 12, "objectives": ["ndcg@10", "loss"]})
    trials = [
        Trial(
            id=f"trial{place}",
            state="TERMINATED",
            config={RATE: 10 ** -(1 + place / 4), "prompt.gaps": ("token", "none")[place % 2], "model.dropout": 0.1},
            metrics={
                "ndcg@10": 0.5 - place / 100,
                "loss": 1.0 + place,
                "epoch": 1.0,
                "progress": 1.0 if place else 0.25,
            },
            curve=((0.5, 0.2), (1.0, 0.5 - place / 100)),
        )
        for place in range(11)
    ]
    failed = Trial("broken", "ERROR", {RATE: 0.1, "prompt.gaps": EVIL, "model.dropout": 0.1}, {})

    page = sweep_page("sweep-1", sweep, [*trials, failed]).html()

    elements = Elements(page)
    assert all(each.id in elements.text for each in (*trials, failed))
    assert "12 trials: 10 done, 1 stopped, 1 failed" in elements.text
    assert "together as long as 10.2 full ones" in elements.text
    assert EVIL in elements.text
    assert "img" not in {tag for tag, _ in elements.found}
    for title in (
        "by learning rate",
        "learning curves",
        "ndcg@10 against loss",
        "settings of each trial",
        "what mattered",
    ):
        assert title in page
    assert FORMAT not in page
    assert "Where the best two formats differ" not in page


def test_a_card_is_told_as_far_as_it_goes() -> None:
    data = {"source": "csv", "customers": 40, "orders": 1234, "content_hash": "0123456789abcdef"}
    old = {"data": data, "trained_before": "2024-05-04", "validated_before": "2024-06-01", "settings": {}}
    quality = {"next_order": {"all": {"customers": 40, "recall@10": 0.5, "ndcg@10": 0.25}}}
    console = Console(width=120, record=True, file=StringIO())

    for part in (
        *card_page({"run": "r"}),
        *card_page(old),
        *card_page({"quality": quality, "limits": ["[all] of it"]}),
    ):
        console.print(part)

    told = console.export_text()
    assert "data csv: 40 customers, 1,234 orders (0123456789ab)" in told
    assert "period learned before 2024-05-04, judged before 2024-06-01" in told
    assert re.search(r"all\W+40\W+0\.5000\W+0\.2500", told)
    assert "- [all] of it" in told
