/** The start: which page is in sight, and the settings in the head of the page. */

import { key, useKey } from "./api.js";
import { page as audience } from "./audience.js";
import { page as customer } from "./customer.js";
import { byId } from "./dom.js";
import { page as fleet } from "./fleet.js";
import { page as forecast } from "./forecast.js";
import { page as models } from "./models.js";
import { onSubmit, say, sayTrouble } from "./page.js";
import { placePeople } from "./people.js";
import { chooseLanguage, chosenLanguage, fillTexts, t } from "./text.js";

const THEME = "demandcast.theme";
/** @type {Record<string, import("./page.js").Page>} */
const PAGES = { customer, forecast, audience, models, fleet };
let current = "";

function go(focus) {
  const asked = location.hash.slice(1);
  const name = Object.hasOwn(PAGES, asked) ? asked : "customer";
  if (name === current) return;
  PAGES[current]?.hide?.();
  current = name;
  for (const each of Object.keys(PAGES)) byId(`page-${each}`).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  placePeople(byId(`page-${name}`));
  sayTrouble();
  say("");
  title();
  if (focus) byId(`${name}-title`).focus();
  PAGES[name].show?.();
}

function title() {
  document.title = `${t(current)} | demandcast`;
}

function keyState() {
  byId("key").value = "";
  byId("key-state").textContent = key() ? t("keyKept") : t("keyNone");
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").value = theme;
}

byId("language").value = chosenLanguage();
byId("language").addEventListener("change", (event) => {
  chooseLanguage(event.target.value);
  keyState();
  title();
  for (const each of Object.values(PAGES)) each.render();
});
byId("theme").addEventListener("change", (event) => {
  localStorage.setItem(THEME, event.target.value);
  useTheme(event.target.value);
});
onSubmit("key-form", () => {
  useKey(byId("key").value.trim());
  keyState();
  sayTrouble();
  PAGES[current].show?.();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", () => go(true));

useTheme(localStorage.getItem(THEME) ?? "auto");
fillTexts();
keyState();
go(false);
