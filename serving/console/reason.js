/** Why an item is expected, as the endpoint explains it, in the language chosen. */

import { h } from "./dom.js";
import { moment } from "./record.js";
import { chosenLanguage, day, number, percent, t } from "./text.js";

/**
 * A sentence, and the events that speak for it.
 * @param {any} demand with `reasons`
 */
export function reason({ reasons }) {
  if (!reasons) return "";
  const events = (reasons.events ?? []).map((each) =>
    h("li", {}, `${day(moment(each.ts))} · ${kindOf(each.kind)} · ${each.item_id ?? ""} · ${percent(Number(each.weight))}`),
  );
  const why = h("span", {}, sentence(reasons));
  return events.length ? h("details", { class: "why" }, h("summary", {}, why), h("ul", {}, ...events)) : why;
}

/** The endpoint's sentences are English; others are made of the same numbers. */
function sentence(reasons) {
  if (chosenLanguage() === "en" || typeof reasons.times !== "number") return String(reasons.sentence ?? "");
  if (!reasons.times) return t("reasonNew");
  const parts = [t("reasonTimes", { times: number(reasons.times) })];
  if (typeof reasons.days_since_last === "number") parts.push(t("reasonLast", { days: number(reasons.days_since_last) }));
  if (typeof reasons.usual_gap_days === "number") parts.push(t("reasonGap", { days: number(reasons.usual_gap_days, 1) }));
  return parts.join(t("comma"));
}

function kindOf(kind) {
  return { purchase: t("order"), order: t("order"), browsing: t("browsing"), review: t("review") }[kind] ?? String(kind);
}
