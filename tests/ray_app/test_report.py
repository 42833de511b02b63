"""The report page: one file that needs no network, and in which data is never markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from demand.errors import SettingsError
from ray_app.reports.figures import totals_scatter
from ray_app.reports.page import Grid, Page, Section, check_report

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

    check_report(file)
    Page("title", []).write(file)

    assert file.read_text().startswith("<!DOCTYPE html>")
    assert [each.name for each in file.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for impossible in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(SettingsError, match="--report"):
            check_report(impossible)
