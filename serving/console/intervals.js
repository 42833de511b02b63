/** Forecasts as bars: intervals within which units lie with a chance of 50, 80 and 95 %, and what was really bought. */

import { drawing, linear, shortened, ticks } from "./charts.js";
import { svg } from "./dom.js";
import { number, t } from "./text.js";

const BARS = [0.95, 0.8, 0.5];

/**
 * One row of the picture.
 * @typedef {{name: string, expected: number, intervals: {level: number, low: number, high: number}[], truth: number | null}} Row
 */

/**
 * @param {Row[]} rows
 * @param {number} width
 * @returns {SVGElement}
 */
export function intervals(rows, width) {
  const gutter = width < 560 ? 0 : Math.min(240, width * 0.3);
  const [row, above] = gutter ? [26, 0] : [40, 14];
  const most = Math.max(1, ...rows.map((each) => Math.max(each.truth ?? 0, ...each.intervals.map(({ high }) => high))));
  const x = linear([0, most], [gutter + 8, width - 16]);
  const height = rows.length * row;
  const axis = ticks(most, (width - gutter) / 90).flatMap((each) => [
    svg("line", { x1: x(each), x2: x(each), y1: 0, y2: height }),
    svg("text", { x: x(each), y: height + 15, "text-anchor": "middle" }, number(each, 2)),
  ]);
  const marks = rows.flatMap((each, place) => {
    const middle = place * row + above + 13;
    return [
      svg("text", { class: "row-name", x: 0, y: gutter ? middle + 4 : place * row + 12 }, shortened(each.name, gutter || width)),
      ...BARS.map((level) => interval(each, level, x, middle)),
      svg("line", { class: "expected", x1: x(each.expected), x2: x(each.expected), y1: middle - 8, y2: middle + 8 }),
      ...(each.truth === null ? [] : [diamond(x(each.truth), middle)]),
    ];
  });
  return drawing(t("intervalsSay", { rows: rows.length }), width, height + 22, svg("g", { class: "axis" }, ...axis), ...marks);
}

function interval({ name, intervals: all }, level, x, middle) {
  const { low, high } = all.find((each) => Math.abs(each.level - level) < 1e-9) ?? { low: 0, high: 0 };
  const said = t("intervalSays", { name, level: number(level * 100), low: number(low, 1), high: number(high, 1) });
  const thick = { 0.95: 4, 0.8: 8, 0.5: 12 }[level];
  const place = { x: x(low), y: middle - thick / 2, width: Math.max(1, x(high) - x(low)), height: thick };
  return svg("rect", { class: `interval level-${Math.round(level * 100)}`, ...place }, svg("title", {}, said));
}

function diamond(x, y) {
  return svg("path", { class: "truth", d: `M${x} ${y - 7}L${x + 6} ${y}L${x} ${y + 7}L${x - 6} ${y}Z` });
}
