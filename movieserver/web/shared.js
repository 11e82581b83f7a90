// A shared collection, for everybody who has its link.
import { call } from "./api.js";
import { card } from "./card.js";
import { button, empty, h } from "./dom.js";
import { BASE } from "./session.js";
import words from "./words.js";
const W = words.shared;
export const title = () => W.by;

export async function show(main, signal, token) {
  const own = h("p", { class: "own" }, h("a", { class: "button", href: BASE.pathname }, W.own));
  try {
    const { data } = await call("GET", `shared/${token}/`, { open: true, signal });
    document.title = data.title;
    main.append(h("header", { class: "hero" }, h("p", { class: "kind" }, W.by), h("h1", {}, data.title),
      data.description && h("p", { class: "words" }, data.description),
      h("p", { class: "soft" }, `${words.films(data.movies.length)} · ${words.date(data.updated_at)}`), button(W.print, () => print())),
    data.movies.length ? h("ul", { class: "grid" }, data.movies.map((movie) => card(movie))) : h("p", { class: "empty" }, W.empty), own);
  } catch (error) {
    if (error.status !== 404) throw error;
    main.append(h("h1", { class: "unseen" }, W.gone), empty(W.gone, W.goneHint), own);
  }
}
