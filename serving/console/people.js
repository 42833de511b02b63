/** Who the forecast and the audience are about: customers of the event log, by their ids, or records from a file. */

import { Problem, ask, eachOf } from "./api.js";
import { byId } from "./dom.js";
import { lastEvent, recordOf, split } from "./record.js";
import { t } from "./text.js";

const MOST = 256;

byId("people").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault();
  byId("people").closest("section").querySelector("form:not(#people)").requestSubmit();
});
byId("people").addEventListener("input", (event) => {
  event.target.closest(".choice").querySelector("[type=radio]").checked = true;
});

/** Puts the choice, which the pages share, into one of them. */
export function placePeople(page) {
  const place = page.querySelector("[data-people]");
  byId("people").hidden = !place;
  place?.append(byId("people"));
}

/**
 * Customers as a request has them, their ids, and all that is known of each.
 * @typedef {{asked: any[], ids: string[], records: any[]}} People
 */

/**
 * Who is chosen, without those of whom nothing is known before a moment.
 * @param {number} when
 * @param {AbortSignal} signal
 * @returns {Promise<People>}
 * @throws {Problem} nobody, or too many.
 */
export async function chosenPeople(when, signal) {
  const source = new FormData(byId("people")).get("people");
  if (source === "file") {
    const records = checked(known(await fromFile(), when));
    return { asked: records.map((each) => split(each, when)[0]), ids: records.map((each) => String(each.customer_id ?? "")), records };
  }
  const named = checked(source === "ids" ? listed(byId("people-ids").value) : await fromLog(signal));
  const records = checked(known(await eachOf(named, (id) => recordOfId(id, signal)), when));
  const ids = records.map((each) => each.customer_id);
  return { asked: ids, ids, records };
}

const known = (records, when) => records.filter((each) => lastEvent([split(each, when)[0]]) > -Infinity);

/**
 * Lines of a field that hold something.
 * @param {string} text
 */
export function listed(text) {
  return [...new Set(text.split("\n").map((each) => each.trim()))].filter(Boolean);
}

/**
 * All that the event log knows of a customer.
 * @param {string} id
 * @param {AbortSignal} [signal]
 */
export async function recordOfId(id, signal) {
  return recordOf(await logAnswer("v1/customers/record", { customer_id: id }, signal, t("noCustomer")));
}

/**
 * Some ids of the event log.
 * @param {number} limit
 * @param {string} after
 * @param {AbortSignal} [signal]
 * @returns {Promise<string[]>}
 */
export async function loggedIds(limit, after, signal) {
  return (await logAnswer("v1/customers", { limit, after }, signal, t("noLog"))).customers;
}

/** Says more than "Not Found" where there is no event log, or it does not know a customer. */
async function logAnswer(path, body, signal, none) {
  try {
    return await ask(path, body, signal);
  } catch (error) {
    if (error.status === 404 || error.status === 405) throw new Problem(error.status, none);
    throw error;
  }
}

const fromLog = (signal) => loggedIds(Number(byId("people-many").value), byId("people-after").value, signal);

async function fromFile() {
  const [file] = byId("people-file").files;
  if (!file) throw new Problem(0, t("noFile"));
  return parsed(await file.text()).map((each) => recordOf(each?.customer ?? each));
}

/** A list of records, an object that holds one, or a record a line. */
function parsed(text) {
  try {
    const content = JSON.parse(text);
    return Array.isArray(content) ? content : (content?.customers ?? [content]);
  } catch {
    try {
      return listed(text).map((line) => JSON.parse(line));
    } catch {
      throw new Problem(0, t("noJson"));
    }
  }
}

function checked(people) {
  if (!people.length) throw new Problem(0, t("nobody"));
  if (people.length > MOST) throw new Problem(0, t("tooMany", { count: people.length, most: MOST }));
  return people;
}
