"""The report page of an evaluation."""

from collections.abc import Mapping
from typing import Any

from demand.comparison import MODEL
from demand.questions import HORIZON
from demand.slices import HISTORIES
from demand.value import CUTS
from ray_app.reports.figures import by_slice, quality, reliability_diagram, totals_scatter
from ray_app.reports.page import Grid, Page, Section
from ray_app.scoreboard import LEGEND, asked, calibrations, title, verdict
from training.evaluation import Evaluation
from training.totals import Totals

PLOTTED = ("ndcg@10", "recall@20")
WORTH = [f"{what}@{k}" for k in CUTS for what in ("conversion", "captured", "rating")]


def evaluation_page(model: str, evaluation: Evaluation) -> Page:
    """Everything that an evaluation found about a model, as a page."""
    report = evaluation.report
    if report["cutoff"]:
        test = f"test period: {report['horizon_days']} days from {report['cutoff'][:10]}"
        people = f"{report['customers']:,} customers with at least 3 orders before and one in it"
    else:
        test, people = f"test: protocol {report['protocol']}", f"{report['customers']:,} customers"
    parts = asked(report)
    sections = [*(_quality(report, part) for part in parts), *(_slices(report, part) for part in parts)]
    sections += [_chances(report)]
    if evaluation.totals:
        sections += [_totals(report, evaluation.totals, evaluation.items)]
    sections += [_worth(report), _settings(report)]
    facts = [test, people, "intervals: 95 %, bootstrap over customers"]
    return Page(f"{model}: evaluation", facts, sections)


def _quality(report: Mapping[str, Any], part: str) -> Section:
    methods, ends, leads = report[part], report["intervals"][part], report["differences"][part]
    metrics = list(methods[MODEL])
    figures = [quality(methods, ends, metric, metric) for metric in PLOTTED if metric in metrics]
    rows = [[name, *(_with_interval(row[key], ends[name][key]) for key in metrics)] for name, row in methods.items()]
    tables = [Grid(["", *metrics], rows)]
    if leads:
        rows = [[name, *(_lead(lead[key]) for key in metrics)] for name, lead in leads.items()]
        tables.append(Grid(["", *metrics], rows, f"The model's lead over each: {LEGEND}"))
    if published := report.get("published"):
        rows = [[name, *(f"{row[key]:.4f}" for key in metrics)] for name, row in published.items()]
        tables.append(Grid(["", *metrics], rows, "As published, by the same protocol; not run here"))
    return Section(f"Quality: {title(report, part)}", "", figures, tables)


def _slices(report: Mapping[str, Any], part: str) -> Section:
    found, methods = report["slices"][part], list(report[part])
    lengths = {name: each for name, each in found.items() if name in HISTORIES}
    rest = {name: each for name, each in found.items() if name not in HISTORIES}
    metric = PLOTTED[0]
    figures = [
        by_slice(some, methods, metric, f"{metric} {words}")
        for some, words in ((lengths, "by number of orders before"), (rest, "by kind of item and of customer"))
        if some
    ]
    columns = ["", "customers", *methods]
    rows = [
        [name, f"{each['customers']:,}", *(f"{each['methods'][method][metric]:.4f}" for method in methods)]
        for name, each in found.items()
    ]
    text = (
        "Repeat items are those that the customer had bought before, new items those that it had not, unseen items "
        "those that nobody had: there only such items count as right, and only customers who bought one are counted."
    )
    tables = [Grid(columns, rows, metric)]
    if unseen := report["unseen"].get(part):
        metrics = list(unseen["methods"][MODEL])
        rows = [
            [name, *(_with_interval(row[key], unseen["intervals"][name][key]) for key in metrics)]
            for name, row in unseen["methods"].items()
        ]
        words = f"The {unseen['items']:,} unseen items among themselves: {unseen['customers']:,} customers bought one"
        tables.append(Grid(["", *metrics], rows, words))
    return Section(f"Slices: {title(report, part)}", text, figures, tables)


def _chances(report: Mapping[str, Any]) -> Section:
    figures, rows = [], []
    for part in asked(report):
        for name, words in (("all", "all items"), ("top20", "the 20 items shown")):
            each = report["calibration"][part][name]
            heading = f"{title(report, part)}, {words}"
            figures.append(reliability_diagram(each["bins"], heading, logarithmic=name == "all"))
            for method, found in calibrations(report, part).items():
                numbers = [f"{found[name][key]:.5f}" for key in ("ece", "brier", "log_loss")]
                rows.append([heading, method, f"{each['pairs']:,}", *numbers])
    text = (
        "Pairs of customer and item in bins of equal number, by predicted probability. The next order is judged by the "
        "customers above, the horizon by every customer with an order before it. A bin in which nothing was bought has "
        "no place on logarithmic axes. The plots are the model's."
    )
    if orders := report.get("orders"):
        numbers = [f"{orders[key]:.5f}" for key in ("ece", "brier", "log_loss")]
        rows.append([f"{title(report, HORIZON)}, an order at all", MODEL, f"{orders['customers']:,}", *numbers])
    columns = ["", "", "pairs", "calibration error", "Brier score", "log loss"]
    return Section("Can the probabilities be believed?", text, figures, [Grid(columns, rows)])


def _totals(report: Mapping[str, Any], totals: Totals, items: list[str]) -> Section:
    pairs = {
        "quantity": (totals.expected_quantity, totals.quantity),
        "amount": (totals.expected_amount, totals.amount),
    }
    figures = [totals_scatter(items, *pair, what) for what, pair in pairs.items()]
    rows = [
        [
            what,
            f"{facts['expected']:,.0f}",
            f"{facts['bought']:,.0f}",
            f"{facts['wape']:.1%}" if "wape" in facts else "",
        ]
        for what, facts in report["demand"].items()
    ]
    left_out = int(((totals.quantity == 0) | (totals.expected_quantity == 0)).sum())
    text = (
        f"Each point is an item: what all customers with an order before the cutoff were expected to buy of it in "
        f"{title(report, HORIZON)}, against what they bought. {left_out:,} of {len(totals.quantity):,} items were not "
        "bought and cannot be drawn on logarithmic axes; the sums count them."
    )
    columns = ["", "expected", "bought", "items' errors / bought"]
    return Section("Demand by item", text, figures, [Grid(columns, rows)])


def _worth(report: Mapping[str, Any]) -> Section:
    tables = []
    for part in asked(report):
        business, bought = report["business"][part], report["bought"][part]
        keys = [key for key in WORTH if any(key in row for row in business.values())]
        rows = [[name, *(_worth_cell(key, row) for key in keys)] for name, row in business.items()]
        facts = f"{bought['items']:.1f} items for {bought['amount']:,.2f} a customer"
        rating = f", rated {bought['rating']:.2f}" if "rating" in bought else ""
        tables.append(Grid(["", *keys], rows, f"{title(report, part)} (really bought: {facts}{rating})"))
    text = (
        "conversion@k: the share of k recommended items that were bought. captured@k: of all that customers spent, the "
        "share spent on items among their first k. rating@k: the mean rating of "
        "what is recommended, where there are reviews."
    )
    return Section("What it is worth", text, (), tables)


def _worth_cell(key: str, row: Mapping[str, float]) -> str:
    if key not in row:
        return ""
    return f"{row[key]:.2f}" if key.startswith("rating") else f"{row[key]:.1%}"


def _settings(report: Mapping[str, Any]) -> Section:
    rows = [
        [name, ", ".join(f"{key} {value}" for key, value in settings.items()) or "nothing to choose"]
        for name, settings in report["settings"].items()
    ]
    where = f"the {report['horizon_days']} days before the test period" if report["cutoff"] else "the orders before"
    text = f"Chosen on {where} by nDCG@10 on the next order."
    return Section("Settings of the baselines", text, (), [Grid(["", "settings"], rows)] if rows else ())


def _with_interval(value: float, ends: list[float]) -> str:
    return f"{value:.4f}\n{ends[0]:.4f} to {ends[1]:.4f}"


def _lead(lead: Mapping[str, float]) -> str:
    return f"{lead['mean']:+.4f} {verdict(lead)}\n{lead['low']:+.4f} to {lead['high']:+.4f}"
