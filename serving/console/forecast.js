/** What some customers buy together, with intervals, against what happened. */

import { ask, items } from "./api.js";
import { byId, figures, h, picture, table } from "./dom.js";
import { intervals } from "./intervals.js";
import { asker, onSubmit } from "./page.js";
import { chosenPeople } from "./people.js";
import { DAY, asOf, bought, lastEvent, momentOf, split } from "./record.js";
import { day, decimal, number, percent, t } from "./text.js";

const WEEK = 7 * DAY;
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
    const weeks = byId("forecast-weeks").checked;
    const spread = Number(byId("forecast-spread").value) / 100;
    const body = { customers: people.asked, as_of: asOf(field), horizon_days: horizon, by, weeks, spread };
    const answer = await ask("v1/forecast", body, signal);
    const catalogue = await items(`${answer.model.name}@${answer.model.version}`);
    const until = when + horizon * DAY;
    const starts = weeks ? weeksFrom(when, until) : [when];
    const truth = when < Date.now() - DAY ? happened(people.records, starts, until, by, catalogue) : null;
    known = { answer, catalogue, by, truth, until, weeks: starts.length, people: people.asked.length };
    render();
  });
}

/** When each week begins, of which the last one may be cut short. */
const weeksFrom = (when, until) => Array.from({ length: Math.ceil((until - when) / WEEK) }, (_, week) => when + week * WEEK);

/** Units by group from each start to the next, and until when anything is known; nothing where no event is from after the first. */
function happened(records, starts, until, by, catalogue) {
  const last = lastEvent(records);
  if (last < starts[0]) return null;
  let after = records;
  const units = starts.map((start, place) => {
    after = after.map((each) => split(each, start)[1]);
    return grouped(bought(after, starts[place + 1] ?? until), by, catalogue);
  });
  return { units, last };
}

function grouped(items, by, catalogue) {
  const units = new Map();
  for (const [item, quantity] of items) {
    if (!catalogue.has(item)) continue;
    const group = { item, all: "all" }[by] ?? catalogue.get(item)[by] ?? "";
    units.set(group, (units.get(group) ?? 0) + quantity);
  }
  return units;
}

function render() {
  if (!known) return;
  const { answer, catalogue, by, truth, until, weeks } = known;
  const nameOf = (group) => (by === "item" ? (catalogue.get(group)?.name ?? group) : by === "all" ? t("byAll") : group || t("noGroup"));
  const rows = answer.groups.map((each) => ({
    name: nameOf(each.group),
    week: each.week ?? 1,
    expected: each.expected_quantity,
    amount: each.expected_amount,
    intervals: each.intervals,
    truth: truth ? (truth.units[(each.week ?? 1) - 1].get(each.group) ?? 0) : null,
  }));
  const drawn = largest(rows, DRAWN).map((each) => (weeks > 1 ? { ...each, name: t("groupInWeek", { group: each.name, week: each.week }) } : each));
  const caption = t(truth ? "intervalsCaptionTruth" : "intervalsCaption", { shown: drawn.length / weeks, all: rows.length / weeks });
  result.replaceChildren(
    summary(rows),
    note(truth, until),
    picture(caption, (width) => intervals(drawn, width)),
    listing(rows, truth),
  );
}

/** Rows of the largest groups, of each all weeks, that are as many as some number at most; those of one group at least. */
function largest(rows, most) {
  return rows.slice(0, Math.max(1, Math.floor(most / known.weeks)) * known.weeks);
}

function summary(rows) {
  const { answer, people, truth } = known;
  const total = (of) => rows.reduce((sum, each) => sum + of(each), 0);
  const judged = rows.filter((each) => each.expected >= JUDGED_UNITS);
  const inside = (level) => (judged.length ? percent(judged.filter((each) => hit(each, level)).length / judged.length) : "–");
  const units = truth?.units.flatMap((each) => [...each.values()]) ?? [];
  return figures([
    [t("customers"), number(people), `${answer.model.name}@${answer.model.version}`],
    [t("expectedUnits", { days: answer.horizon_days }), number(total((each) => each.expected)), t("amountOf", { amount: number(total((each) => each.amount)) })],
    ...(truth
      ? [
          [t("boughtUnits"), number(units.reduce((sum, each) => sum + each, 0))],
          [t("insideIntervals"), [0.5, 0.8, 0.95].map(inside).join(" · "), t("insideHint", { rows: judged.length, least: JUDGED_UNITS })],
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
    ...(known.weeks > 1 ? [{ label: t("week"), number: true }] : []),
    { label: t("expected"), number: true },
    ...[50, 80, 95].map((level) => ({ label: t("within", { level }), number: true })),
    ...(truth ? [{ label: t("boughtReally"), number: true }] : []),
    { label: t("amount"), number: true },
  ];
  const cells = largest(rows, LISTED).map((each) => [
    each.name,
    ...(known.weeks > 1 ? [number(each.week)] : []),
    decimal(each.expected, 1),
    ...[0.5, 0.8, 0.95].map((level) => range(each.intervals.find((one) => Math.abs(one.level - level) < 1e-9))),
    ...(truth ? [number(each.truth, 1)] : []),
    decimal(each.amount),
  ]);
  return table(t("forecastTable", { shown: cells.length / known.weeks, all: rows.length / known.weeks }), columns, cells);
}

const range = (interval) => (interval ? `${decimal(interval.low, 1)} – ${decimal(interval.high, 1)}` : "");
