/**
 * Making elements. Text only ever becomes text: there is no way here from a string to markup, or to an inline handler
 * or style, which the page's Content-Security-Policy refuses as well.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element of index.html with an id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * An HTML element.
 * @param {string} tag
 * @param {Record<string, any>} attributes by name; `null`, `undefined` and `false` leave one out, functions are listeners.
 * @param {...(Node | string | number | null)} children strings become text.
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * An SVG element; as `h`.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {...(Node | string | number | null)} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((each) => each !== null).map((each) => (each instanceof Node ? each : String(each))));
  return element;
}

/**
 * A table that screen readers can walk through, and that scrolls sideways on narrow screens.
 * @param {string} caption
 * @param {{label: string, number?: boolean}[]} columns the first names the row.
 * @param {(Node | string)[][]} rows
 */
export function table(caption, columns, rows) {
  const kind = (place) => (columns[place].number ? "number" : null);
  const head = columns.map((each, place) => h("th", { scope: "col", class: kind(place) }, each.label));
  const body = rows.map((cells) =>
    h("tr", {}, ...cells.map((cell, place) => h(place ? "td" : "th", { scope: place ? null : "row", class: kind(place) }, cell))),
  );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body)),
  );
}

/**
 * A picture that is drawn again where its width changes.
 * @param {string} caption below it.
 * @param {(width: number) => SVGElement} draw
 */
export function picture(caption, draw) {
  const place = h("div", { class: "picture" });
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (width && width !== drawn) {
      drawn = width;
      place.replaceChildren(draw(width));
    }
  }).observe(place);
  return h("figure", {}, place, h("figcaption", {}, caption));
}

/**
 * Named figures.
 * @param {string[][]} pairs name, value, and what else there may be to say.
 */
export function figures(pairs) {
  const shown = pairs.map(([name, value, more]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value), more ? h("dd", { class: "hint" }, more) : null),
  );
  return h("dl", { class: "figures" }, ...shown);
}
