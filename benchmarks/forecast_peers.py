"""What else forecasts demand: time series item by item, and models of whether a customer comes back.

benchmarks/forecasts.py calls this in the environment .venv-forecast-peers, which 'make peers' sets up.

    .venv-forecast-peers/bin/python benchmarks/forecast_peers.py --data DIR --origins 2017-11-06,2017-12-04 --out DIR

For each origin, with nothing from it on: units.parquet gets the units of each of the most sold items within the next 28
days, in all and week by week, and of each of the largest stores, by statsforecast's methods on weekly sales, with
conformal intervals: as far about the forecast as the method was off in such a share of the WINDOWS times before, a week
apart. (Those of single weeks, which statsforecast gives, do not add up to one of their sum.) "AutoETS, native" is told
the sales of every 28 days instead, and gives the intervals of its own law. orders.parquet gets the chance that each
customer orders in that time: by BG/NBD as pymc-marketing fits it (Fader, Hardie & Lee, 2005; maximum a posteriori), and
by logistic regression on recency, frequency and money, and on recency alone, learned from the 28 days before it.
"""

import argparse
import logging
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from pymc_marketing.clv import BetaGeoModel, rfm_summary
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsforecast import StatsForecast
from statsforecast.models import TSB, AutoETS, CrostonClassic, CrostonOptimized, WindowAverage

DAYS, WEEKS = 28, 4
SERIES = {"items": 200, "weeks": 200, "stores": 100}
"""How many are forecast, the most sold."""
WINDOWS = 10
LEVELS = (50, 80, 95)
ENDS = {"lo": "low", "hi": "high"}
NATIVE = "AutoETS, native"
METHODS = {
    "4-week mean": WindowAverage(WEEKS),
    "AutoETS": AutoETS(season_length=1),
    "Croston": CrostonClassic(),
    "Croston, optimised": CrostonOptimized(),
    "TSB": TSB(alpha_d=0.2, alpha_p=0.2),
}


def units(lines: pd.DataFrame, origin: datetime, what: str) -> pd.DataFrame:
    """Forecasts of the most sold series by method, with low_* and high_* of LEVELS.

    Args:
        what: "items" or "stores", of all weeks after the origin together, or "weeks" of items.
    """
    past = lines[lines.ts < origin].rename(columns={"store" if what == "stores" else "item_id": "unique_id"})
    most = past.groupby("unique_id").quantity.sum().nlargest(SERIES[what]).index
    week = -((origin - past.ts) // timedelta(days=7)) - 1
    whole = week.min() + (past.ts.min() > origin + timedelta(days=7) * int(week.min()))  # the first may be cut off
    weekly = past.groupby(["unique_id", week]).quantity.sum().unstack(fill_value=0.0).reindex(most)
    weekly = weekly.reindex(columns=range(whole, 0), fill_value=0.0)
    table = weekly.rename_axis(columns="ds").stack().rename("y").reset_index().astype({"ds": int})
    models = [each.new() for each in METHODS.values()]
    for name, model in zip(METHODS, models, strict=True):
        model.alias = name
    found = StatsForecast(models, freq=1).forecast(df=table, h=WEEKS).assign(cutoff=-1)
    tested = StatsForecast(models, freq=1).cross_validation(df=table, h=WEEKS, n_windows=WINDOWS, step_size=1)
    series = ["unique_id", "step"] if what == "weeks" else ["unique_id"]
    sums, real = (
        each.assign(step=each.ds - each.cutoff).groupby([*series, "cutoff"])[columns].sum().clip(lower=0)
        for each, columns in ((found, [*METHODS]), (tested, ["y", *METHODS]))
    )
    off = real[[*METHODS]].sub(real.y, axis=0).abs().groupby(series)
    rows = sums.droplevel("cutoff").stack().rename("units").to_frame()
    for level in LEVELS:
        far = off.quantile(level / 100).stack().reindex(rows.index)
        rows[f"low_{level}"], rows[f"high_{level}"] = (rows.units - far).clip(lower=0), rows.units + far
    rows = rows.rename_axis([*series, "method"]).reset_index()
    return rows if what == "weeks" else pd.concat([rows, native(table)])


def native(weekly: pd.DataFrame) -> pd.DataFrame:
    """What `units` gives, by AutoETS on the sales of every 28 days, as many as are whole."""
    table = weekly.assign(ds=-((-weekly.ds - 1) // WEEKS) - 1)
    table = table[table.ds > table.ds.min()] if (-weekly.ds.min()) % WEEKS else table
    table = table.groupby(["unique_id", "ds"], as_index=False).y.sum()
    found = StatsForecast([AutoETS(season_length=1)], freq=1).forecast(df=table, h=1, level=list(LEVELS))
    columns = {f"AutoETS-{end}-{level}": f"{name}_{level}" for level in LEVELS for end, name in ENDS.items()}
    found = found.rename(columns={"AutoETS": "units", **columns}).drop(columns="ds")
    numbers = found.columns.drop("unique_id")
    return found.assign(method=NATIVE, **found[numbers].clip(lower=0))


def totals(lines: pd.DataFrame, origin: datetime) -> pd.DataFrame:
    """What `units` gives, of all that can be asked."""
    asked = [each for each in SERIES if each != "stores" or lines.store.notna().any()]
    return pd.concat([units(lines, origin, each).assign(what=each) for each in asked])


def features(orders: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """By customer, before a moment: days since the last order, orders a day, money an order, days since the first."""
    past = orders[orders.ts < moment].groupby("customer_id")
    day = pd.Timedelta(days=1)
    age = (moment - past.ts.min()) / day
    return pd.DataFrame(
        {
            "recency": np.log1p((moment - past.ts.max()) / day),
            "frequency": np.log(past.size() / (age + 7)),
            "money": np.log1p(past.amount.mean().clip(lower=0)),
            "age": np.log1p(age),
        }
    )


def logistic(orders: pd.DataFrame, origin: datetime, columns: list[str]) -> pd.Series:
    """Chances by customer, learned from who ordered in the days before the origin."""
    before = origin - timedelta(days=DAYS)
    known = features(orders, before)[columns]
    ordered = known.index.isin(orders[(orders.ts >= before) & (orders.ts < origin)].customer_id)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(known, ordered)
    asked = features(orders, origin)[columns]
    return pd.Series(model.predict_proba(asked)[:, 1], asked.index)


def bg_nbd(orders: pd.DataFrame, origin: datetime) -> pd.Series:
    """Chances by customer, from order days."""
    end = (origin - timedelta(days=1)).replace(tzinfo=None)
    past = orders[orders.ts < origin].assign(ts=lambda table: table.ts.dt.tz_localize(None))
    summary = rfm_summary(past, "customer_id", "ts", observation_period_end=end)
    model = BetaGeoModel()
    model.fit(data=summary, method="map", progressbar=False)
    none = model.expected_probability_no_purchase(DAYS, summary).mean(("chain", "draw"))
    return pd.Series(1 - none.values, summary.customer_id.astype(str))


def chances(lines: pd.DataFrame, origin: datetime) -> pd.DataFrame:
    """Of customers with an order before the origin, by method."""
    orders = lines.groupby(["customer_id", "order_id"], as_index=False).agg(ts=("ts", "min"), amount=("amount", "sum"))
    found = {
        "BG/NBD": bg_nbd(orders, origin),
        "logistic: recency, frequency, money": logistic(orders, origin, ["recency", "frequency", "money", "age"]),
        "recency": logistic(orders, origin, ["recency"]),
    }
    table = pd.DataFrame(found).rename_axis("customer_id").reset_index()
    return table.melt("customer_id", var_name="method", value_name="chance")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--origins", required=True, help="dates with commas between")
    parser.add_argument("--out", type=Path, required=True, help="folder of units.parquet and orders.parquet")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pymc").setLevel(logging.ERROR)
    columns = ["customer_id", "order_id", "ts", "item_id", "quantity", "amount", "store"]
    lines = pd.read_parquet(arguments.data / "orders.parquet", columns=columns)
    origins = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in arguments.origins.split(",")]
    for name, forecast in (("units", totals), ("orders", chances)):
        found = pd.concat([forecast(lines, each).assign(origin=each.date().isoformat()) for each in origins])
        found.to_parquet(arguments.out / f"{name}.parquet", index=False)


if __name__ == "__main__":
    main()
