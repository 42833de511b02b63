/** What all pictures share. They are plain SVG, coloured by classes; beside each stands a table of the same figures. */

import { svg } from "./dom.js";
import { month } from "./text.js";

/**
 * A linear scale.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 * @returns {(value: number) => number}
 */
export function linear([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

/**
 * Round numbers that divide [0, high].
 * @param {number} high
 * @param {number} most
 */
export function ticks(high, most) {
  const rough = high / Math.max(1, most) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  return Array.from({ length: Math.floor(high / step + 1e-9) + 1 }, (_, place) => place * step);
}

/**
 * First days of months, some of them where there are many.
 * @param {number} from milliseconds since 1970
 * @param {number} to
 * @param {number} most
 */
export function months(from, to, most) {
  const start = new Date(from);
  const all = [];
  for (let each = 1; all.length < 1_200; each++) {
    const first = Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + each, 1);
    if (first > to) break;
    all.push(first);
  }
  const steps = [1, 2, 3, 6, 12, 24, 60, 120];
  const step = steps.find((each) => all.length / each <= most) ?? 240;
  return all.filter((each) => {
    const date = new Date(each);
    return (date.getUTCFullYear() * 12 + date.getUTCMonth()) % step === 0;
  });
}

/**
 * A drawing whose title a screen reader says.
 * @param {string} title
 * @param {number} width
 * @param {number} height
 * @param {...Node} children
 */
export function drawing(title, width, height, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...children);
}

/**
 * The vertical lines and names of months.
 * @param {(ts: number) => number} x
 * @param {number[]} firsts
 * @param {number} top
 * @param {number} bottom
 */
export function monthAxis(x, firsts, top, bottom) {
  return svg(
    "g",
    { class: "axis" },
    ...firsts.flatMap((each) => [
      svg("line", { x1: x(each), x2: x(each), y1: top, y2: bottom }),
      svg("text", { x: x(each) + 3, y: bottom + 14 }, month(each)),
    ]),
  );
}

/**
 * A share as a bar, for a cell of a table, which says it in words too.
 * @param {number} share in [0, 1]
 */
export function bar(share) {
  return svg(
    "svg",
    { class: "bar", width: 64, height: 10, viewBox: "0 0 64 10", "aria-hidden": "true" },
    svg("rect", { class: "bar-all", width: 64, height: 10, rx: 2 }),
    svg("rect", { class: "bar-part", width: 64 * Math.min(1, Math.max(0, share)), height: 10, rx: 2 }),
  );
}

/**
 * Text that fits into so many pixels.
 * @param {string} text
 * @param {number} width
 */
export function shortened(text, width) {
  const room = Math.max(3, Math.floor(width / 7.2));
  const signs = [...text];
  const wide = signs.filter((each) => each > "\u2e80").length;
  return signs.length + wide <= room ? text : `${signs.slice(0, Math.max(2, room - 1 - Math.min(wide, room / 2))).join("")}…`;
}
