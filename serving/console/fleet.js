/** Replicas, load and the models' shares, followed while anybody looks. */

import { ask } from "./api.js";
import { bar, drawing, linear, ticks } from "./charts.js";
import { byId, figures, h, picture, svg, table } from "./dom.js";
import { sayTrouble } from "./page.js";
import { number, percent, t } from "./text.js";

const EVERY_SECONDS = 3;
const REMEMBERED = 200;
const HEIGHT = 120;
const result = byId("fleet-result");
/** @type {{at: number, ongoing: number}[]} */
const seen = [];
const now = h("div", {});
const served = h("div", {});
let known = null;
let told = "";
let timer = 0;
let shown = false;

result.append(now, served);

/** @type {import("./page.js").Page} */
export const page = {
  render,
  show() {
    shown = true;
    follow();
  },
  hide() {
    shown = false;
    clearTimeout(timer);
  },
};

document.addEventListener("visibilitychange", follow);

async function follow() {
  clearTimeout(timer);
  if (!shown || document.hidden) return;
  try {
    known = await ask("v1/status");
    seen.push({ at: Date.now(), ongoing: known.ongoing });
    if (seen.length > REMEMBERED) seen.shift();
    if (shown) sayTrouble();
    render();
  } catch (error) {
    if (shown) sayTrouble(error, false);
  }
  clearTimeout(timer);
  if (shown) timer = setTimeout(follow, EVERY_SECONDS * 1000);
}

function render() {
  if (!known) return;
  const replicas = Object.values(known.replicas).reduce((sum, each) => sum + each, 0);
  const running = known.replicas.RUNNING ?? 0;
  const states = Object.entries(known.replicas).map(([state, count]) => `${state} ${count}`).join(" · ");
  now.replaceChildren(
    figures([
      [t("state"), known.status],
      [t("replicas"), t("replicasSay", { running, replicas }), states],
      [t("ongoing"), number(known.ongoing)],
    ]),
    places(known.replicas),
    picture(t("loadCaption"), load),
  );
  const table = known.models.length ? models(known.models) : h("p", {}, t("noServed"));
  if (table.textContent !== told) replaceTable(table);
}

/** Only where it says something else, and as far to the side as it was: it stands in sight for hours. */
function replaceTable(table) {
  const before = served.querySelector(".scroll");
  const [left, focused] = [before?.scrollLeft ?? 0, served.contains(document.activeElement)];
  served.replaceChildren(table);
  told = table.textContent;
  const after = served.querySelector(".scroll");
  if (after) after.scrollLeft = left;
  if (focused) after?.focus();
}

/** A square for each replica. */
function places(replicas) {
  const all = Object.entries(replicas).flatMap(([state, count]) => Array(count).fill(state));
  return h("div", { class: "places", "aria-hidden": "true" }, ...all.map((state) => h("span", { class: `replica ${state.toLowerCase()}`, title: state })));
}

function load(width) {
  const most = Math.max(4, ...seen.map((each) => each.ongoing));
  const end = seen.at(-1)?.at ?? Date.now();
  const x = linear([Math.min(seen[0]?.at ?? end, end - 60_000), end], [36, width - 8]);
  const y = linear([0, most], [HEIGHT - 8, 10]);
  const axis = ticks(most, 3).flatMap((each) => [
    svg("line", { x1: 32, x2: width, y1: y(each), y2: y(each) }),
    svg("text", { x: 0, y: y(each) + 4 }, number(each)),
  ]);
  const line = seen.map((each) => `${x(each.at)},${y(each.ongoing)}`).join(" ");
  const last = seen.at(-1);
  const dot = last ? [svg("circle", { class: "load-now", cx: x(last.at), cy: y(last.ongoing), r: 4 })] : [];
  return drawing(t("loadCaption"), width, HEIGHT, svg("g", { class: "axis" }, ...axis), svg("polyline", { class: "load", points: line }), ...dot);
}

function models(served) {
  const columns = [
    { label: t("model") },
    { label: t("share"), number: true },
    { label: t("answers"), number: true },
    { label: t("failures"), number: true },
    { label: t("mean"), number: true },
    { label: t("shown"), number: true },
    { label: t("converted"), number: true },
    { label: t("format") },
  ];
  const rows = served.map((each) => [
    `${each.name}@${each.version}`,
    h("span", { class: "inline" }, bar(each.share), percent(each.share)),
    number(each.answers),
    number(each.failures),
    each.answers ? number((each.seconds / each.answers) * 1000) : "–",
    number(each.shown),
    each.shown ? `${number(each.bought)} (${percent(each.bought / each.shown)})` : "–",
    each.prompt_format,
  ]);
  return table(t("servedCaption"), columns, rows);
}
