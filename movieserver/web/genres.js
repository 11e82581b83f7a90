// What the user likes: all genres with the three favourites, and decades; a bar filters the films.
import { cardToAdd } from "./add.js";
import { button, empty, h, svg } from "./dom.js";
import { changes } from "./live.js";
import { ask, asked } from "./router.js";
import { genres, genresOf, whole } from "./store.js";
import words from "./words.js";
const W = words.genres;
const FAVOURITES = 3, ROW = 46; // pixels
export const title = () => W.title;

export async function show(main, signal) {
  const chosen = { ...Object.fromEntries(asked()) }, body = h("div", {});
  main.append(h("h1", {}, W.title), body);
  const load = async () => render(body, chosen, await genres(), unique(await whole()));
  changes.addEventListener("change", () => load().catch(() => {}), { signal });
  await load();
}

function unique(collections) {
  return [...new Map(collections.flatMap(({ movies }) => movies).map((movie) => [movie.uuid, movie])).values()];
}

function render(body, chosen, counted, films) {
  if (!films.length) {
    return body.replaceChildren(empty(W.empty, W.emptyHint, h("a", { class: "button primary", href: "#/movies" }, words.list.find)));
  }
  const choose = (values) => { ask(Object.assign(chosen, values)); render(body, chosen, counted, films); };
  const pick = (key) => (value) => {
    choose({ [key]: chosen[key] === value ? "" : value });
    body.querySelector(`[data-key="${key}"][data-value="${CSS.escape(value)}"]`)?.focus();
  };
  const ofGenre = films.filter((movie) => !chosen.genre || genresOf(movie).some((name) => alike(name, chosen.genre)));
  const shown = ofGenre.filter((movie) => !chosen.decade || decade(movie) === chosen.decade);
  const decades = Map.groupBy(ofGenre.filter((movie) => movie.year), decade);
  const bars = [...decades].sort().map(([name, { length }]) => ({ name, times: length, text: W.decade(name) }));
  const favourites = counted.map(({ genre, count }, index) => (
    { name: genre, times: count, text: genre, marked: index < FAVOURITES }));
  const panel = (heading, content) => h("section", { class: "panel" }, h("h2", {}, heading), content);
  body.replaceChildren(h("div", { class: "panels" },
    panel(W.chart, chart("genre", favourites, chosen.genre, pick("genre"))),
    panel(W.decades, bars.length ? chart("decade", bars, chosen.decade, pick("decade")) : h("p", { class: "soft" }, W.noDecades))),
  h("div", { class: "section" }, h("h2", { role: "status" }, W.shown(shown.length, chosen.genre, chosen.decade)),
    (chosen.genre || chosen.decade) && button(W.clear, () => choose({ genre: "", decade: "" }), "small")),
  h("ul", { class: "grid" }, shown.map(cardToAdd)));
}

const alike = (one, other) => one.normalize("NFC").toLowerCase() === other.normalize("NFC").toLowerCase();
const decade = ({ year }) => (year ? String(year - year % 10) : "");

// A horizontal bar for each entry, which is a button.
function chart(key, entries, chosen, pick) {
  const most = Math.max(...entries.map(({ times }) => times));
  return svg("svg", { class: "chart", height: entries.length * ROW, role: "group" }, entries.map(({ name, times, text, marked }, index) => {
    const press = (event) => {
      if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick(name);
    };
    const spoken = W.bar(text, words.films(times)) + (marked ? `, ${W.favourite}` : "");
    const bar = (kind, width) => svg("rect", { class: kind, y: 28, width, height: 9, rx: 4.5 });
    return svg("g", { role: "button", tabindex: 0, "aria-label": spoken, "aria-pressed": String(chosen === name),
      class: marked ? "marked" : "plain", "data-key": key, "data-value": name,
      transform: `translate(0 ${index * ROW})`, click: press, keydown: press },
    svg("rect", { width: "100%", height: ROW, fill: "transparent" }), // the whole row can be clicked
    svg("text", { x: 0, y: 20 }, marked ? `★ ${text}` : text),
    svg("text", { x: "100%", y: 20, "text-anchor": "end", class: "times" }, String(times)),
    bar("track", "100%"), bar("value", `${100 * times / most}%`));
  }));
}
