/** What pages do alike: ask when a form is sent, say what goes on, and what went wrong. */

import { Problem } from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./text.js";

/**
 * A page.
 * @typedef {object} Page
 * @property {() => void} render writes what it knows, in the language chosen.
 * @property {() => void} [show] called when it comes into sight.
 * @property {() => void} [hide] called when it goes.
 */

/** @param {string} text for the line that screen readers follow. */
export function say(text) {
  byId("news").textContent = text;
}

/**
 * @param {any} [error] what went wrong; without, all is well again.
 * @param {boolean} [asked] whether somebody waits for the answer: else it is told once, and takes no focus.
 */
export function sayTrouble(error, asked = true) {
  const text = error ? words(error) : "";
  if (byId("trouble").textContent !== text) byId("trouble").replaceChildren(...(error ? [h("p", {}, text)] : []));
  if (error) say("");
  if (asked && error?.status === 401) byId("key").focus();
}

function words(error) {
  if (!(error instanceof Problem)) return t("broken", { detail: error.message });
  if (error.status === 401) return t("needKey");
  if (error.status === 403) return t("needAdmin");
  if (error.status >= 400) return t("refused", { status: error.status, detail: error.message });
  return error.message;
}

/**
 * Work that a later one of the same place replaces, with its errors told.
 * @param {HTMLElement} place where the result will be.
 * @returns {(work: (signal: AbortSignal) => Promise<void>) => Promise<void>}
 */
export function asker(place) {
  let latest = new AbortController();
  return async (work) => {
    latest.abort();
    const mine = (latest = new AbortController());
    place.setAttribute("aria-busy", "true");
    sayTrouble();
    say(t("asking"));
    try {
      await work(mine.signal);
      if (latest === mine) say(t("done"));
    } catch (error) {
      if (latest === mine && error.name !== "AbortError") sayTrouble(error);
    } finally {
      if (latest === mine) place.removeAttribute("aria-busy");
    }
  };
}

/**
 * Calls back when a form is sent, which goes nowhere.
 * @param {string} id
 * @param {() => void} then
 */
export function onSubmit(id, then) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    then();
  });
}
