/** One customer: history as a timeline, the demands that are expected, and why. */

import { Problem, ask } from "./api.js";
import { bar } from "./charts.js";
import { byId, figures, h, picture, table } from "./dom.js";
import { asker, onSubmit } from "./page.js";
import { loggedIds, recordOfId } from "./people.js";
import { reason } from "./reason.js";
import { DAY, asOf, bought, lastEvent, moment, recordOf, split } from "./record.js";
import { timeline } from "./timeline.js";
import { day, decimal, number, percent, t } from "./text.js";

const SHOWN_EVENTS = 200;
const MOST_EXPLAINED = 20; // as the endpoint has it
const result = byId("customer-result");
const asking = asker(result);
let known = null;

/** Asks about a customer of the event log. */
export function showCustomer(id, when) {
  byId("customer-id").value = id;
  byId("customer-record").value = "";
  byId("customer-as-of").value = when ?? "";
  send();
}

/** @type {import("./page.js").Page} */
export const page = { render };

onSubmit("customer-form", send);
byId("customer-id").addEventListener("focus", suggestIds);
byId("customer-file").addEventListener("change", (event) => read(event.target.files[0]));
byId("customer-drop").addEventListener("dragover", (event) => event.preventDefault());
byId("customer-drop").addEventListener("drop", (event) => {
  event.preventDefault();
  read(event.dataTransfer.files[0]);
});

async function read(file) {
  if (file) byId("customer-record").value = await file.text();
}

async function suggestIds() {
  if (byId("customer-ids").children.length) return;
  try {
    byId("customer-ids").replaceChildren(...(await loggedIds(100, "")).map((id) => h("option", { value: id })));
  } catch {
    // without an event log, or a key for it, there is nothing to suggest
  }
}

function send() {
  return asking(async (signal) => {
    const asked = await request(signal);
    const when = asked.as_of ? moment(asked.as_of) : Date.now();
    const [before] = split(asked.customer, when);
    const horizon = asked.horizon_days;
    const [answer, risk] = await Promise.all([
      predict({ ...asked, customer: before }, signal),
      ask("v1/customers/risk", { customer: before, as_of: asked.as_of, horizon_days: horizon ?? 28 }, signal),
    ]);
    known = { record: asked.customer, when, until: horizon ? when + horizon * DAY : null, answer, risk };
    render();
  });
}

/** What is asked, with all that is known of the customer: a file may hold a whole request. */
async function request(signal) {
  const fields = {
    as_of: asOf(byId("customer-as-of")),
    horizon_days: Number(byId("customer-horizon").value) || null,
    top_k: Number(byId("customer-top").value),
  };
  const text = byId("customer-record").value.trim();
  if (!text) return { customer: await recordOfId(byId("customer-id").value.trim() || noId(), signal), ...fields };
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Problem(0, t("noJson"));
  }
  if (!content?.customer) return { customer: recordOf(content), ...fields };
  return { ...fields, ...content, customer: recordOf(content.customer) };
}

function noId() {
  throw new Problem(0, t("noId"));
}

/** With reasons, unless for so many items there are none; an endpoint without refuses to be asked for them. */
async function predict(body, signal) {
  if (body.top_k > MOST_EXPLAINED) return ask("v1/predict", body, signal);
  try {
    return await ask("v1/predict", { ...body, explain: true }, signal);
  } catch (error) {
    if (error.status !== 422 || !error.message.startsWith("explain")) throw error;
    return ask("v1/predict", body, signal);
  }
}

function render() {
  if (!known) return;
  const { record, when, until, answer, risk } = known;
  const [before, after] = split(record, when);
  const drawn = picture(t("timelineCaption"), (width) => timeline({ record, when, until, demands: answer.demands }, width));
  result.replaceChildren(
    h("h2", {}, record.customer_id || t("nameless")),
    people(record),
    outlook(before, risk),
    h("div", { class: "beside" }, drawn, demands(answer, after, until)),
    answer.unknown_items.length ? h("p", { class: "hint" }, t("unknownItems", { items: answer.unknown_items.join(", ") })) : "",
    history(record, when),
    modelLine(answer),
  );
}

function people(record) {
  const facts = Object.entries(record.demographic_info ?? {}).map(([name, value]) => `${name}: ${value}`);
  return h("p", { class: "hint" }, facts.join(" · "));
}

function outlook(before, risk) {
  const orders = before.purchase_history.length;
  const usual = risk.usual_gap_days === null ? "" : t("usualGap", { days: number(risk.usual_gap_days, 1) });
  return h(
    "div",
    {},
    figures([
      [t("ordersBefore"), number(orders), orders ? t("since", { day: day(Math.min(...before.purchase_history.map((each) => moment(each.ts)))) }) : ""],
      [t("comesBack", { days: risk.horizon_days }), percent(risk.probability)],
      [t("expectedSpend", { days: risk.horizon_days }), decimal(risk.expected_amount), t("spentBefore", { amount: decimal(risk.amount) })],
      [t("daysSince"), risk.days_since_order === null ? "–" : number(risk.days_since_order, 1), risk.late ? `${usual} ${t("late")}` : usual],
    ]),
    risk.missing.length ? h("p", {}, t("missing", { items: risk.missing.map((each) => each.name).join(", ") })) : "",
  );
}

function demands(answer, after, until) {
  const last = lastEvent([after]);
  const happened = last > -Infinity;
  const over = until ? last >= until - DAY : after.purchase_history.length > 0;
  const next = Math.min(...after.purchase_history.map((each) => moment(each.ts)));
  const really = bought([after], until ?? next + 1);
  const explained = answer.demands.some((each) => each.reasons);
  const columns = [
    { label: t("item") },
    { label: t("chance"), number: true },
    { label: t("quantity"), number: true },
    { label: t("amount"), number: true },
    ...(happened ? [{ label: t("boughtLater") }] : []),
    ...(explained ? [{ label: t("reasons") }] : []),
  ];
  const rows = answer.demands.map((each) => [
    each.name,
    h("span", { class: "inline" }, bar(each.probability), percent(each.probability)),
    decimal(each.expected_quantity),
    decimal(each.expected_amount),
    ...(happened ? [really.has(each.item_id) ? t("yes") : over ? t("no") : "–"] : []),
    ...(explained ? [reason(each)] : []),
  ]);
  const caption = answer.horizon_days ? t("demandsWithin", { days: answer.horizon_days }) : t("demandsNext");
  return h(
    "div",
    {},
    table(caption, columns, rows),
    until && happened && !over ? h("p", { class: "hint" }, t("truthEnds", { day: day(last) })) : "",
    explained ? "" : h("p", { class: "hint" }, t("noReasons")),
  );
}

function history(record, when) {
  const events = [
    ...record.purchase_history.map((each) => [each.ts, t("order"), each.items.map((line) => `${line.item_id} × ${number(Number(line.quantity ?? 1), 2)}`).join(", ")]),
    ...record.browsing_history.map((each) => [each.ts, t("browsing"), [each.action, each.item_id, each.text].filter(Boolean).join(" ")]),
    ...record.reviews.map((each) => [each.ts, t("review"), `${each.item_id} ${each.rating}/5 ${each.text ?? ""}`]),
  ];
  events.sort((one, other) => moment(other[0]) - moment(one[0]));
  const columns = [{ label: t("day") }, { label: t("event") }, { label: t("what") }];
  const rows = events.slice(0, SHOWN_EVENTS).map(([ts, kind, what]) => [day(moment(ts)), moment(ts) < when ? kind : `${kind} (${t("later")})`, what]);
  const caption = t("historyCaption", { shown: rows.length, all: events.length });
  return h("details", {}, h("summary", {}, t("history")), table(caption, columns, rows));
}

function modelLine({ model, as_of }) {
  return h("p", { class: "hint" }, t("answeredBy", { model: `${model.name}@${model.version}`, format: model.prompt_format, day: day(moment(as_of)) }));
}
