/**
 * Customer records, as requests hold them, split at a moment: what is before goes to the model, what is after is what
 * really happened.
 */

import { Problem } from "./api.js";
import { t } from "./text.js";

export const DAY = 86_400_000;
const PARTS = ["purchase_history", "browsing_history", "reviews"];
const LARGEST_SECONDS = 2e10; // beyond, the endpoint reads a number as milliseconds
const ZONED = /(Z|[+-]\d\d:?\d\d)$/i;

/**
 * Milliseconds since 1970 of a time as the endpoint reads it: without a zone it is UTC's.
 * @param {string | number} text
 * @returns {number}
 */
export function moment(text) {
  if (typeof text === "number") return Math.abs(text) > LARGEST_SECONDS ? text : text * 1000;
  const written = String(text).replace(" ", "T");
  const found = Date.parse(written.includes("T") && !ZONED.test(written) ? `${written}Z` : written);
  if (Number.isNaN(found)) throw new Problem(0, t("noTime"));
  return found;
}

/**
 * The moment of a date field, now where it is empty.
 * @param {HTMLInputElement} field
 */
export function momentOf(field) {
  return field.value ? moment(field.value) : Date.now();
}

/**
 * The moment of a date field as a request has it.
 * @param {HTMLInputElement} field
 * @returns {string | null}
 */
export function asOf(field) {
  return field.value ? `${field.value}T00:00:00Z` : null;
}

/**
 * A record with every part.
 * @param {any} content
 * @throws {Problem} it is none.
 */
export function recordOf(content) {
  if (!content || typeof content !== "object" || Array.isArray(content)) throw new Problem(0, t("noRecord"));
  const record = { ...content };
  for (const part of PARTS) {
    record[part] = content[part] ?? [];
    if (!Array.isArray(record[part]) || !record[part].every((each) => each && typeof each === "object")) {
      throw new Problem(0, t("noList", { part }));
    }
  }
  if (!record.purchase_history.every((each) => Array.isArray(each.items))) throw new Problem(0, t("noList", { part: "items" }));
  return record;
}

/**
 * The same customer with the events before a moment alone, or with those from it on.
 * @param {any} record
 * @param {number} when
 * @returns {[any, any]}
 */
export function split(record, when) {
  const [before, after] = [{ ...record }, { ...record }];
  for (const part of PARTS) {
    before[part] = record[part].filter((each) => moment(each.ts) < when);
    after[part] = record[part].filter((each) => moment(each.ts) >= when);
  }
  return [before, after];
}

/**
 * Units of each item that were bought until a moment.
 * @param {any[]} records
 * @param {number} until
 * @returns {Map<string, number>}
 */
export function bought(records, until) {
  const units = new Map();
  for (const record of records) {
    for (const order of record.purchase_history) {
      if (moment(order.ts) >= until) continue;
      for (const line of order.items) units.set(line.item_id, (units.get(line.item_id) ?? 0) + Number(line.quantity ?? 1));
    }
  }
  return units;
}

/**
 * When the last event was; -Infinity without any.
 * @param {any[]} records
 */
export function lastEvent(records) {
  let last = -Infinity;
  for (const record of records) for (const part of PARTS) for (const each of record[part]) last = Math.max(last, moment(each.ts));
  return last;
}
