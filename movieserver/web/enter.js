// Sign in, or make an account.
import { call } from "./api.js";
import { poster } from "./card.js";
import { button, h, label, onSubmit } from "./dom.js";
import { keep } from "./session.js";
import words from "./words.js";
const W = words.enter;
const KNOWN = "movieserver:known";
const CLOSED = document.querySelector("meta[name=registration]").content === "closed";
const WALL = [
  ["Metropolis", 1927, "Science Fiction"], ["Casablanca", 1942, "Romance"], ["Vertigo", 1958, "Mystery"], ["Jaws", 1975, "Adventure"],
  ["Alien", 1979, "Horror"], ["Fargo", 1996, "Crime"], ["Amélie", 2001, "Comedy"], ["Rashomon", 1950, "Drama"],
].map(([title, year, genres]) => ({ title, year, genres }));
export const title = () => W.in;

export function show(main) {
  const form = h("section", { class: "panel" });
  main.append(h("div", { class: "enter" },
    h("div", { class: "pitch" }, h("div", { class: "wall", "aria-hidden": "true" }, WALL.map(poster)),
      h("h1", {}, W.slogan), h("ul", {}, W.points.map((point) => h("li", {}, point)))), form));
  fill(form, !CLOSED && !localStorage.getItem(KNOWN)); // whoever was here before has an account
}

function fill(panel, isNew) {
  const password = h("input", { name: "password", type: "password", required: true, minlength: isNew && 8,
    autocomplete: isNew ? "new-password" : "current-password" });
  const reveal = h("input", { type: "checkbox", change: () => { password.type = reveal.checked ? "text" : "password"; } });
  const form = h("form", {},
    label(W.user, h("input", { name: "username", required: true, maxlength: 150, autocomplete: "username", autocapitalize: "none", spellcheck: "false" })),
    label(W.password, password, isNew && W.rule),
    h("label", { class: "check" }, reveal, W.show),
    h("label", { class: "check" }, h("input", { name: "stay", type: "checkbox" }), W.stay),
    h("button", { class: "button primary wide" }, isNew ? W.up : W.in));
  onSubmit(form, (values) => enter(isNew ? "register/" : "login/", values));
  const other = button(isNew ? W.toIn : W.toUp, () => { fill(panel, !isNew); panel.querySelector("input").focus(); }, "link");
  panel.replaceChildren(h("h2", {}, isNew ? W.up : W.in), form, h("p", {}, CLOSED ? W.closed : other));
}

async function enter(path, { username, password, stay }) {
  const { data } = await call("POST", path, { body: { username, password }, open: true });
  localStorage.setItem(KNOWN, "yes");
  keep(data, { name: username.trim(), stay: Boolean(stay) });
}
