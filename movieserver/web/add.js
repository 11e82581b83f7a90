// A film and the collections that hold it; a tick adds or removes it.
import { card, poster } from "./card.js";
import { dialog } from "./dialog.js";
import { button, h, onSubmit } from "./dom.js";
import { add, creator, genresOf, holding, named, remove, titles } from "./store.js";
import words from "./words.js";
const W = words.add;

// The card of a film; a click anywhere on it opens the dialog.
export function cardToAdd(movie) {
  const label = words.movies.add(named(movie));
  return card(movie, button(words.movies.addTo, () => addDialog(movie), "add", { "aria-label": label }));
}

async function addDialog(movie) {
  const list = h("ul", { class: "ticks", "aria-label": W.choose }, h("li", {}, words.loading));
  const status = h("p", { class: "status", role: "status" });
  const film = h("div", { class: "film" }, poster(movie), about(movie));
  dialog(W.title, film, list, h("p", { class: "none" }, W.none), fresh([movie], list, status), status);
  try {
    const [all, inside] = await Promise.all([titles(), holding(movie)]);
    const ticked = new Set(inside.map(({ uuid }) => uuid));
    list.replaceChildren(...all.map((each) => tick(each, movie, ticked.has(each.uuid), status)));
    list.hidden = !all.length;
  } catch (error) {
    list.replaceChildren(h("li", { role: "alert" }, error.message));
  }
}

function about(movie) {
  const { imdb, tmdb } = movie.ids ?? {};
  const link = (text, href) => h("a", { href, target: "_blank", rel: "noreferrer" }, text);
  return h("div", {}, h("h3", {}, named(movie)),
    h("p", { class: "soft" }, genresOf(movie).join(", ")), h("p", {}, movie.description),
    h("p", {}, imdb && link(W.imdb, `https://www.imdb.com/title/${encodeURIComponent(imdb)}/`), " ",
      tmdb && link(W.tmdb, `https://www.themoviedb.org/movie/${encodeURIComponent(tmdb)}`)));
}

function tick({ uuid, title }, movie, checked, status) {
  const box = h("input", { type: "checkbox", checked });
  let sent = Promise.resolve();
  async function send(inside) {
    try {
      await (inside ? add(uuid, [movie]) : remove(uuid, movie.uuid));
      status.textContent = inside ? W.added(title) : W.removed(title);
    } catch (error) {
      box.checked = !inside;
      status.textContent = error.message;
    }
  }
  box.addEventListener("change", () => { sent = sent.then(() => send(box.checked)); }); // one after the other
  return h("li", {}, h("label", { class: "check" }, box, title));
}

// A new collection with these films.
function fresh(movies, list, status, done = () => {}) {
  const create = creator();
  const field = h("input", {
    name: "title", required: true, maxlength: 255, placeholder: W.fresh, "aria-label": W.fresh, autocomplete: "off" });
  const form = h("form", { class: "inline" }, field, h("button", { class: "button" }, W.create));
  return onSubmit(form, async ({ title }) => {
    const uuid = await create({ title, movies });
    list.hidden = false;
    list.prepend(tick({ uuid, title }, movies[0], true, status));
    form.reset();
    status.textContent = W.added(title);
    done();
  });
}

// Copies several films into one collection, old or new.
export async function copyDialog(movies, done) {
  const list = h("ul", { class: "ticks" }), status = h("p", { class: "status", role: "status" });
  const finish = () => { shown.close(); done(); };
  const shown = dialog(W.title, list, fresh(movies, h("ul"), status, finish), status);
  const copyTo = (uuid) => add(uuid, movies).then(finish, (error) => { status.textContent = error.message; });
  list.append(...(await titles()).map(({ uuid, title }) => h("li", {}, button(title, () => copyTo(uuid)))));
}
