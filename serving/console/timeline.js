/** A customer's history as a picture: a row for orders, browsing and reviews, and one for each item that is expected. */

import { drawing, linear, monthAxis, months, shortened } from "./charts.js";
import { svg } from "./dom.js";
import { DAY, moment } from "./record.js";
import { day, decimal, number, percent, t } from "./text.js";

const ROW = 26;
const ORDERS = 56;

/**
 * What is drawn.
 * @typedef {object} Told
 * @property {any} record
 * @property {number} when as of when the model was asked
 * @property {number | null} until the end of the horizon
 * @property {any[]} demands of the answer
 */

/**
 * @param {Told} told
 * @param {number} width
 * @returns {SVGElement}
 */
export function timeline(told, width) {
  const { record, when, until, demands } = told;
  const gutter = width < 560 ? 0 : Math.min(220, width * 0.26);
  const row = gutter ? ROW : ROW + 14;
  const times = [...record.purchase_history, ...record.browsing_history, ...record.reviews].map((each) => moment(each.ts));
  const from = times.reduce((least, each) => Math.min(least, each), when - 30 * DAY);
  const to = times.reduce((most, each) => Math.max(most, each), Math.max(until ?? 0, when + 7 * DAY));
  const x = linear([from, to], [gutter + 6, width - 8]);
  const lanes = [
    { label: t("orders"), height: ORDERS, marks: (y) => orderBars(record.purchase_history, x, y) },
    ...(record.browsing_history.length ? [lane(t("browsing"), record.browsing_history, browsed, x, row)] : []),
    ...(record.reviews.length ? [lane(t("reviews"), record.reviews, reviewed, x, row)] : []),
    ...demands.map((each) => itemLane(each, told, x, row)),
  ];
  const height = lanes.reduce((sum, each) => sum + each.height, 0);
  const parts = [];
  if (until) parts.push(svg("rect", { class: "horizon", x: x(when), y: 0, width: x(Math.min(until, to)) - x(when), height }));
  const named = months(from, to, (width - gutter) / 58).filter((each) => x(each) < width - 34);
  parts.push(monthAxis(x, named, 0, height));
  let top = 0;
  for (const each of lanes) {
    const base = top + each.height - 6;
    parts.push(svg("line", { class: "lane", x1: gutter, x2: width, y1: top + each.height, y2: top + each.height }));
    parts.push(label(each.label, gutter, top, base, width));
    parts.push(...each.marks(base));
    top += each.height;
  }
  parts.push(svg("line", { class: "now", x1: x(when), x2: x(when), y1: 0, y2: height }));
  return drawing(t("timelineSays", { orders: record.purchase_history.length, day: day(when) }), width, height + 20, ...parts);
}

function label(text, gutter, top, base, width) {
  const place = gutter ? { x: 0, y: base } : { x: 0, y: top + 12 };
  return svg("text", { class: "row-name", ...place }, shortened(text, gutter || width));
}

function orderBars(orders, x, base) {
  const sums = orders.map((order) => order.items.reduce((sum, line) => sum + Number(line.amount ?? 0), 0));
  const y = linear([0, Math.max(1e-9, ...sums)], [3, ORDERS - 22]);
  return orders.map((order, place) => {
    const at = x(moment(order.ts));
    const said = t("orderSays", { day: day(moment(order.ts)), items: order.items.length, amount: decimal(sums[place]) });
    return svg("line", { class: "order", x1: at, x2: at, y1: base, y2: base - y(sums[place]) }, svg("title", {}, said));
  });
}

function lane(name, events, says, x, height) {
  const mark = (y) => (each) =>
    svg("circle", { class: "event", cx: x(moment(each.ts)), cy: y - 4, r: 3 }, svg("title", {}, `${day(moment(each.ts))}: ${says(each)}`));
  return { label: name, height, marks: (y) => events.map(mark(y)) };
}

const browsed = (each) => `${each.action} ${each.item_id ?? each.text ?? ""}`;
const reviewed = (each) => `${each.item_id} ${each.rating}/5 ${each.text ?? ""}`;

function itemLane(demand, { record, when }, x, height) {
  const events = (demand.reasons?.events ?? []).filter((each) => each.ts);
  const weights = new Map(events.map((each) => [moment(each.ts), Math.abs(Number(each.weight))]));
  const heaviest = Math.max(1e-9, ...weights.values());
  const marks = (y) =>
    record.purchase_history.flatMap((order) => {
      const ts = moment(order.ts);
      const line = order.items.find((each) => each.item_id === demand.item_id);
      if (!line) return [];
      const weight = (weights.get(ts) ?? 0) / heaviest;
      const said = t("boughtSays", { item: demand.name, day: day(ts), quantity: number(Number(line.quantity ?? 1), 2) });
      const kind = ts < when ? "purchase" : "purchase later";
      return [svg("circle", { class: kind, cx: x(ts), cy: y - 5, r: 3 + 4 * weight }, svg("title", {}, said))];
    });
  return { label: `${percent(demand.probability)} ${demand.name}`, height, marks };
}
