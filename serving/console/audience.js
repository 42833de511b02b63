/** An audience: who of some customers is likeliest to want an item, or something of a category. */

import { Problem, ask, items } from "./api.js";
import { bar } from "./charts.js";
import { showCustomer } from "./customer.js";
import { byId, figures, h, table } from "./dom.js";
import { asker, onSubmit } from "./page.js";
import { chosenPeople, listed } from "./people.js";
import { asOf, momentOf } from "./record.js";
import { decimal, number, percent, t } from "./text.js";

const SUGGESTED = 5_000;
const FORMULA = /^[=+\-@\t\r]/;
const result = byId("audience-result");
const asking = asker(result);
let known = null;

/** @type {import("./page.js").Page} */
export const page = { render, show: suggest };

onSubmit("audience-form", () => byId("people").reportValidity() && send());
byId("audience-add").addEventListener("click", addItem);
byId("audience-item").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  addItem();
});
byId("audience-rule").addEventListener("change", showRule);

function send() {
  return asking(async (signal) => {
    const field = byId("audience-as-of");
    const people = await chosenPeople(momentOf(field), signal);
    const horizon = Number(byId("audience-horizon").value);
    const body = { customers: people.asked, as_of: asOf(field), horizon_days: horizon, ...wanted(), ...rule() };
    known = { answer: await ask("v1/audience", body, signal), ids: people.ids, asOf: field.value };
    render();
  });
}

function addItem() {
  const field = byId("audience-item");
  const lines = listed(`${byId("audience-items").value}\n${field.value}`);
  byId("audience-items").value = lines.join("\n");
  byId("audience-category").value = "";
  field.value = "";
  field.focus();
}

function showRule() {
  for (const each of byId("audience-form").querySelectorAll("[data-rule]")) {
    each.hidden = each.dataset.rule !== byId("audience-rule").value;
    each.querySelector("input").disabled = each.hidden; // else what nobody sees may keep the form from being sent
  }
}

/** Items and categories of the catalogue to choose from, once there is one. */
async function suggest() {
  if (byId("audience-catalogue").children.length) return;
  try {
    const all = [...(await items()).values()];
    const categories = [...new Set(all.map((each) => each.category).filter(Boolean))].sort();
    const options = all.slice(0, SUGGESTED).map((each) => h("option", { value: each.item_id }, each.name));
    byId("audience-catalogue").replaceChildren(...options);
    byId("audience-category").append(...categories.map((each) => h("option", { value: each }, each)));
  } catch {
    // they can be typed as well; what is wrong is told when something is asked
  }
}

function wanted() {
  const category = byId("audience-category").value;
  const chosen = listed(`${byId("audience-items").value}\n${byId("audience-item").value}`);
  if (category) return { category };
  if (chosen.length) return { items: chosen };
  throw new Problem(0, t("nothingWanted"));
}

function rule() {
  const value = (id) => Number(byId(id).value);
  return {
    size: () => ({ size: value("audience-size") }),
    threshold: () => ({ threshold: value("audience-threshold") / 100 }),
    budget: () => ({ budget: value("audience-budget"), cost: value("audience-cost") }),
  }[byId("audience-rule").value]();
}

function render() {
  if (!known) return;
  const { answer, ids } = known;
  const rows = answer.members.map((each, place) => [
    who(ids[each.place]),
    number(place + 1),
    h("span", { class: "inline" }, bar(each.probability), percent(each.probability)),
  ]);
  const columns = [{ label: t("customer") }, { label: t("place"), number: true }, { label: t("chance"), number: true }];
  result.replaceChildren(
    figures([
      [t("members"), number(answer.members.length), t("ofAsked", { asked: number(ids.length) })],
      [t("response"), decimal(answer.expected_response, 1)],
      [t("reached"), percent(answer.reached), t("reachedHint")],
    ]),
    h("p", {}, h("button", { type: "button", click: download }, t("download"))),
    table(t("membersCaption"), columns, rows),
  );
}

function who(id) {
  return id ? h("a", { href: "#customer", click: () => showCustomer(id, known.asOf) }, id) : t("nameless");
}

/** As CSV. Spreadsheets take some texts for formulas; a quotation mark in front keeps them texts. */
function download() {
  const cell = (value) => `"${(FORMULA.test(value) ? `'${value}` : value).replaceAll('"', '""')}"`;
  const lines = known.answer.members.map((each) => `${cell(known.ids[each.place])},${each.probability}`);
  const file = new Blob([["customer_id,probability", ...lines, ""].join("\r\n")], { type: "text/csv" });
  const url = URL.createObjectURL(file);
  h("a", { href: url, download: "audience.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
