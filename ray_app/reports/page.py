"""A report page: sections of text, tables and Plotly figures in one HTML file that needs no network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import jinja2
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from demand.errors import SettingsError
from demand.locations import Location, reason, write_text


@dataclass(frozen=True)
class Grid:
    """A table: a heading for each column, and rows of cells. The first column names the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, then figures side by side where there is room, then tables. All text is plain."""

    title: str
    text: str = ""
    figures: Sequence[go.Figure] = ()
    tables: Sequence[Grid] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    facts: Sequence[str]
    sections: Sequence[Section] = field(default_factory=list)

    def html(self) -> str:
        """The page with everything that it needs inside, text escaped."""
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
        template = environment.from_string((files("ray_app.reports") / "page.html").read_text())
        return template.render(page=self, plotly=get_plotlyjs(), data=_data)

    def write(self, file: Location) -> None:
        """Writes the page; the file appears whole or not at all.

        Raises:
            SettingsError: the file cannot be written there.
        """
        try:
            write_text(file, self.html())
        except OSError as error:
            raise SettingsError(f"--report {file}: {reason(error)}") from None


def _data(figure: go.Figure) -> str:
    """A figure as JSON that can stand inside a script element."""
    return str(figure.to_json()).replace("<", "\\u003c")
