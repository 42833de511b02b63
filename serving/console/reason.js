/** Why an item is expected, as the endpoint explains it, in the language chosen. */

import { h } from "./dom.js";
import { moment } from "./record.js";
import { chosenLanguage, day, number, signedPercent, t } from "./text.js";

const BEST_SELLERS = 100; // as the endpoint's own sentences have it

/**
 * A sentence, and the events that speak for the item, or against it.
 * @param {any} demand with `reasons`
 */
export function reason({ reasons }) {
  if (!reasons) return "";
  const events = (reasons.events ?? []).map((each) => h("li", {}, eventSays(each)));
  const why = h("span", {}, sentence(reasons));
  return events.length ? h("details", { class: "why" }, h("summary", {}, why), h("ul", {}, ...events)) : why;
}

function eventSays(event) {
  const about = [event.ts && day(moment(event.ts)), kindOf(event.kind), event.item_id, signedPercent(Number(event.weight))];
  return about.filter(Boolean).join(" · ");
}

/** The endpoint's sentences are English; others are made of the same numbers. */
function sentence(reasons) {
  if (chosenLanguage() === "en" || typeof reasons.times !== "number") return String(reasons.sentence ?? "");
  const told = (name) => typeof reasons[name] === "number";
  const parts = [reasons.times ? t("reasonTimes", { times: number(reasons.times) }) : t("reasonNew")];
  if (told("days_since_last")) parts.push(t("reasonLast", { days: number(reasons.days_since_last) }));
  if (told("usual_gap_days")) parts.push(t("reasonGap", { days: number(reasons.usual_gap_days, 1) }));
  if (told("days_since_look")) parts.push(t("reasonLooks", { looks: number(reasons.looks), days: number(reasons.days_since_look) }));
  if (told("rating")) parts.push(t("reasonRating", { rating: number(reasons.rating) }));
  if (!reasons.times && reasons.sales_rank <= BEST_SELLERS) parts.push(t("reasonRank", { rank: number(reasons.sales_rank) }));
  return parts.join(t("comma"));
}

function kindOf(kind) {
  const names = new Map([["order", t("order")], ["browsing", t("browsing")], ["review", t("review")], ["profile", t("profile")]]);
  return names.get(kind) ?? String(kind);
}
