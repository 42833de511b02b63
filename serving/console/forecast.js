/** What some customers buy together, with intervals, against what happened. */

import { ask, items } from "./api.js";
import { byId, figures, h, picture, table } from "./dom.js";
import { intervals } from "./intervals.js";
import { asker, onSubmit } from "./page.js";
import { chosenPeople } from "./people.js";
import { DAY, asOf, bought, lastEvent, momentOf, split } from "./record.js";
import { day, decimal, number, percent, t } from "./text.js";

const DRAWN = 20;
const LISTED = 200;
const JUDGED_UNITS = 5; // below, no interval but one from nothing on can hold the nothing that is mostly bought
const result = byId("forecast-result");
const asking = asker(result);
let known = null;

/** @type {import("./page.js").Page} */
export const page = { render };

onSubmit("forecast-form", () => byId("people").reportValidity() && send());

function send() {
  return asking(async (signal) => {
    const field = byId("forecast-as-of");
    const when = momentOf(field);
    const people = await chosenPeople(when, signal);
    const horizon = Number(byId("forecast-horizon").value);
    const by = byId("forecast-by").value;
    const body = { customers: people.asked, as_of: asOf(field), horizon_days: horizon, by, spread: Number(byId("forecast-spread").value) / 100 };
    const [answer, catalogue] = await Promise.all([ask("v1/forecast", body, signal), items()]);
    const until = when + horizon * DAY;
    const truth = when < Date.now() - DAY ? happened(people.records, when, until, by, catalogue) : null;
    known = { answer, catalogue, by, truth, until, people: people.asked.length };
    render();
  });
}

/** Units by group, and until when anything is known; nothing where no event is from after the moment. */
function happened(records, when, until, by, catalogue) {
  const last = lastEvent(records);
  if (last < when) return null;
  const units = new Map();
  const after = records.map((each) => split(each, when)[1]);
  for (const [item, quantity] of bought(after, until)) {
    if (!catalogue.has(item)) continue;
    const group = { item, all: "all" }[by] ?? catalogue.get(item)[by] ?? "";
    units.set(group, (units.get(group) ?? 0) + quantity);
  }
  return { units, last };
}

function render() {
  if (!known) return;
  const { answer, catalogue, by, truth, until } = known;
  const nameOf = (group) => (by === "item" ? (catalogue.get(group)?.name ?? group) : by === "all" ? t("byAll") : group || t("noGroup"));
  const rows = answer.groups.map((each) => ({
    name: nameOf(each.group),
    expected: each.expected_quantity,
    amount: each.expected_amount,
    intervals: each.intervals,
    truth: truth ? (truth.units.get(each.group) ?? 0) : null,
  }));
  const caption = t(truth ? "intervalsCaptionTruth" : "intervalsCaption", { shown: Math.min(DRAWN, rows.length), all: rows.length });
  result.replaceChildren(
    summary(rows),
    note(truth, until),
    picture(caption, (width) => intervals(rows.slice(0, DRAWN), width)),
    listing(rows, truth),
  );
}

function summary(rows) {
  const { answer, people, truth } = known;
  const total = (of) => rows.reduce((sum, each) => sum + of(each), 0);
  const judged = rows.filter((each) => each.expected >= JUDGED_UNITS);
  const inside = (level) => judged.filter((each) => hit(each, level)).length / Math.max(1, judged.length);
  return figures([
    [t("customers"), number(people), `${answer.model.name}@${answer.model.version}`],
    [t("expectedUnits", { days: answer.horizon_days }), number(total((each) => each.expected)), t("amountOf", { amount: number(total((each) => each.amount)) })],
    ...(truth
      ? [
          [t("boughtUnits"), number(total((each) => each.truth))],
          [t("insideIntervals"), [0.5, 0.8, 0.95].map((level) => percent(inside(level))).join(" · "), t("insideHint", { groups: judged.length, least: JUDGED_UNITS })],
        ]
      : []),
  ]);
}

function hit({ intervals: all, truth }, level) {
  const { low, high } = all.find((each) => Math.abs(each.level - level) < 1e-9) ?? { low: 1, high: 0 };
  return low <= truth && truth <= high;
}

function note(truth, until) {
  if (!truth) return h("p", { class: "hint" }, t("noTruth"));
  return truth.last < until - DAY ? h("p", { class: "hint" }, t("truthEnds", { day: day(truth.last) })) : "";
}

function listing(rows, truth) {
  const columns = [
    { label: t("group") },
    { label: t("expected"), number: true },
    ...[50, 80, 95].map((level) => ({ label: t("within", { level }), number: true })),
    ...(truth ? [{ label: t("boughtReally"), number: true }] : []),
    { label: t("amount"), number: true },
  ];
  const cells = rows.slice(0, LISTED).map((each) => [
    each.name,
    decimal(each.expected, 1),
    ...[0.5, 0.8, 0.95].map((level) => range(each.intervals.find((one) => Math.abs(one.level - level) < 1e-9))),
    ...(truth ? [number(each.truth, 1)] : []),
    decimal(each.amount),
  ]);
  return table(t("forecastTable", { shown: cells.length, all: rows.length }), columns, cells);
}

const range = (interval) => (interval ? `${decimal(interval.low, 1)} – ${decimal(interval.high, 1)}` : "");
