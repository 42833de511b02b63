/** Words, numbers and days in the language that was chosen. */

import en from "./en.js";
import zh from "./zh.js";

const LANGUAGE = "demandcast.language";
const WORDS = { en, zh };

/** @type {string} */
let language = localStorage.getItem(LANGUAGE) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
if (!Object.hasOwn(WORDS, language)) language = "en";

/** @returns {string} "en" or "zh" */
export function chosenLanguage() {
  return language;
}

/** @param {string} which "en" or "zh", from now on and at the next visit. */
export function chooseLanguage(which) {
  language = which;
  localStorage.setItem(LANGUAGE, which);
  fillTexts();
}

/**
 * A text, its {places} filled.
 * @param {string} name as in en.js.
 * @param {Record<string, string | number>} values
 */
export function t(name, values = {}) {
  return WORDS[language][name].replace(/\{(\w+)\}/g, (_, place) => String(values[place]));
}

/** Writes the texts of index.html: where data-text, data-label or data-placeholder names one. */
export function fillTexts() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const each of having("data-text")) each.textContent = t(each.dataset.text);
  for (const each of having("data-label")) each.setAttribute("aria-label", t(each.dataset.label));
  for (const each of having("data-placeholder")) each.setAttribute("placeholder", t(each.dataset.placeholder));
}

/** @returns {NodeListOf<any>} */
const having = (attribute) => document.querySelectorAll(`[${attribute}]`);

/**
 * @param {number} value
 * @param {number} digits after the point, at most.
 */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/**
 * With so many digits after the point that equal ones stand below each other.
 * @param {number} value
 * @param {number} digits
 */
export function decimal(value, digits = 2) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** @param {number} share in [0, 1] */
export function percent(share) {
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language, { style: "percent", ...digits }).format(share);
}

/** @param {number} share in [-1, 1], with its sign. */
export function signedPercent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" }).format(share);
}

/** @param {number} ts milliseconds since 1970; days are those of UTC, as everywhere in demandcast. */
export function day(ts) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" }).format(ts);
}

/** @param {number} ts milliseconds since 1970 */
export function month(ts) {
  const january = new Date(ts).getUTCMonth() === 0;
  return new Intl.DateTimeFormat(language, { month: "short", year: january ? "2-digit" : undefined, timeZone: "UTC" }).format(ts);
}

/** @param {number} ts milliseconds since 1970 */
export function minute(ts) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }).format(ts);
}
