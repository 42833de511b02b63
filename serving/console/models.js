/** Registered model versions and sweeps, and how good they are. */

import { ask } from "./api.js";
import { drawing, linear } from "./charts.js";
import { byId, h, picture, svg, table } from "./dom.js";
import { asker } from "./page.js";
import { moment } from "./record.js";
import { decimal, minute, number, t } from "./text.js";

const METRICS = ["ndcg@10", "recall@10", "recall@20", "hit@10", "loss"];
const RANKED_BY = "ndcg@10";
const RATE = "training.learning_rate";
const FORMAT = "prompt.name";
const HEIGHT = 180;
const result = byId("models-result");
const asking = asker(result);
let known = null;

/** @type {import("./page.js").Page} */
export const page = { render, show: load };

byId("models-again").addEventListener("click", load);

function load() {
  return asking(async (signal) => {
    known = await ask("v1/models", undefined, signal);
    render();
  });
}

function render() {
  if (!known) return;
  const { models, sweeps } = known;
  result.replaceChildren(
    h("h2", {}, t("versions")),
    models.some((each) => RANKED_BY in each.metrics) ? picture(t("versionsPicture"), (width) => versionDots(models, width)) : "",
    models.length ? versionTable(models) : h("p", {}, t("noModels")),
    h("h2", {}, t("sweeps")),
    ...(sweeps.length ? sweeps.map(sweepPart) : [h("p", {}, t("noSweeps"))]),
  );
}

const score = (metrics, name) => (name in metrics ? decimal(metrics[name], 4) : "");
const nameOf = (each) => `${each.name}@${each.version}`;

function versionTable(models) {
  const columns = [
    { label: t("model") },
    { label: t("aliases") },
    ...METRICS.map((label) => ({ label, number: true })),
    { label: t("created") },
    { label: t("data") },
    { label: t("format") },
    { label: t("run") },
  ];
  const rows = models.map((each) => [
    nameOf(each),
    h("span", {}, ...each.aliases.map((alias) => h("span", { class: `tag ${alias}` }, alias))),
    ...METRICS.map((name) => score(each.metrics, name)),
    minute(moment(each.created)),
    [each.settings["data.source"], (each.settings.data ?? "").slice(0, 8)].filter(Boolean).join(" "),
    each.settings.prompt_format ?? "",
    each.run ?? "",
  ]);
  return table(t("versionsCaption"), columns, rows);
}

/** The metric of each version, in the order of their making. */
function versionDots(models, width) {
  const shown = models.filter((each) => RANKED_BY in each.metrics).reverse();
  const x = linear([0, Math.max(1, shown.length - 1)], [86, width - 40]);
  const points = shown.map((each, place) => ({
    x: x(shown.length === 1 ? 0.5 : place),
    value: each.metrics[RANKED_BY],
    kind: each.aliases.includes("champion") ? "champion" : each.aliases.includes("challenger") ? "challenger" : "",
    name: nameOf(each),
  }));
  return dots(t("versionsPicture"), width, points, (each, y) => (shown.length * 80 < width || each.kind ? [svg("text", { x: each.x, y: y - 10, "text-anchor": "middle" }, each.name)] : []));
}

function sweepPart(sweep) {
  const trials = [...sweep.trials].sort((one, other) => (other.metrics[RANKED_BY] ?? -1) - (one.metrics[RANKED_BY] ?? -1));
  const settings = [...new Set(trials.flatMap((each) => Object.keys(each.settings)))];
  const columns = [{ label: t("trial") }, ...settings.map((label) => ({ label })), ...METRICS.map((label) => ({ label, number: true }))];
  const rows = trials.map((each) => [each.name, ...settings.map((name) => setting(each.settings[name])), ...METRICS.map((name) => score(each.metrics, name))]);
  const searchable = trials.some((each) => Number(each.settings[RATE]) > 0 && RANKED_BY in each.metrics);
  return h(
    "details",
    { open: sweep === known.sweeps[0] },
    h("summary", {}, t("sweepSays", { name: sweep.name, trials: trials.length, best: score(sweep.metrics, RANKED_BY) || "–", when: minute(moment(sweep.recorded)) })),
    searchable ? picture(t("sweepPicture"), (width) => trialDots(trials, width)) : "",
    table(t("sweepCaption", { name: sweep.name }), columns, rows),
  );
}

function setting(value) {
  const found = Number(value ?? NaN);
  if (value === "" || !Number.isFinite(found)) return value ?? "";
  return number(Number.isInteger(found) ? found : Number(found.toPrecision(3)), 8);
}

/** The metric by learning rate; formats differ in their shapes. */
function trialDots(trials, width) {
  const shown = trials.filter((each) => RANKED_BY in each.metrics && Number(each.settings[RATE]) > 0);
  const rates = shown.map((each) => Math.log10(Number(each.settings[RATE])));
  const x = linear([Math.min(...rates), Math.max(...rates)], [76, width - 40]);
  const formats = [...new Set(shown.map((each) => each.settings[FORMAT] ?? ""))];
  const points = shown.map((each, place) => ({
    x: x(rates[place]),
    value: each.metrics[RANKED_BY],
    kind: `series-${formats.indexOf(each.settings[FORMAT] ?? "") % 4}`,
    name: `${setting(each.settings[RATE])} ${each.settings[FORMAT] ?? ""}`,
  }));
  const starts = formats.map((_, place) => formats.slice(0, place).reduce((sum, each) => sum + 32 + each.length * 7.5, 8));
  const legend = formats.map((each, place) =>
    svg("g", {}, mark(`series-${place % 4}`, starts[place], 8), svg("text", { x: starts[place] + 10, y: 12 }, each)),
  );
  const ends = [...new Set([Math.min(...rates), Math.max(...rates)])].map((each) =>
    svg("text", { x: x(each), y: HEIGHT + 14, "text-anchor": "middle" }, setting(10 ** each)),
  );
  return dots(t("sweepPicture"), width, points, () => [], ...legend, svg("g", { class: "axis" }, ...ends));
}

function dots(title, width, points, named, ...more) {
  const values = points.map((each) => each.value);
  const room = (Math.max(...values) - Math.min(...values)) * 0.15 || 0.01;
  const y = linear([Math.min(...values) - room, Math.max(...values) + room], [HEIGHT - 8, 28]);
  const levels = [Math.min(...values), Math.max(...values)].flatMap((each) => [
    svg("line", { x1: 48, x2: width, y1: y(each), y2: y(each) }),
    svg("text", { x: 0, y: y(each) + 4 }, decimal(each, 4)),
  ]);
  const marks = points.flatMap((each) => [
    mark(each.kind, each.x, y(each.value), svg("title", {}, `${each.name}: ${RANKED_BY} ${decimal(each.value, 4)}`)),
    ...named(each, y(each.value)),
  ]);
  return drawing(title, width, HEIGHT + 18, svg("g", { class: "axis" }, ...levels), ...marks, ...more);
}

/** A circle, square, triangle or diamond: colour is never all that tells. */
function mark(kind, x, y, ...children) {
  const shapes = {
    "series-1": `M${x - 5} ${y - 5}h10v10h-10Z`,
    "series-2": `M${x} ${y - 6}L${x + 6} ${y + 5}H${x - 6}Z`,
    "series-3": `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z`,
  };
  const d = shapes[kind] ?? `M${x - 6} ${y}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z`;
  return svg("path", { class: `dot ${kind}`, d }, ...children);
}
