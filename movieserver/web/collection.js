// One collection: title, description, films with notes, their order; one or several at once.
import { call } from "./api.js";
import { copyDialog } from "./add.js";
import { poster } from "./card.js";
import { button, empty, h } from "./dom.js";
import { Editor } from "./editor.js";
import { textField } from "./field.js";
import { changes } from "./live.js";
import { sortable } from "./order.js";
import { go } from "./router.js";
import { shareDialog } from "./share.js";
import { deleting, genresOf, named, remove } from "./store.js";
import { flush, later, toast } from "./toast.js";
import { save } from "./transfer.js";
import words from "./words.js";
const W = words.list;
const UNKNOWN = {}; // a change of which nothing is known: read the collection again
export const title = () => words.nav.collections;

export async function show(main, signal, uuid) {
  const view = new View(main, signal, uuid), loaded = view.load(), follow = (change) => loaded.then(() => view.follow(change), () => {});
  changes.addEventListener("change", ({ detail }) => follow(detail ? detail.get(uuid) : UNKNOWN), { signal });
  await loaded;
}

class View {
  constructor(main, signal, uuid) {
    // uuids: `leaving` are removed unless that is undone, `picked` are selected; `rows` has what is shown of each film
    Object.assign(this, { main, signal, uuid, editor: new Editor(uuid), leaving: new Set(), picked: new Set(), rows: new Map() });
    this.list = h("ol", { class: "rows" });
    this.meta = h("p", { class: "soft" });
    this.message = h("div", {});
    this.heading = h("h1", { class: "unseen" });
    this.bar = h("div", { class: "selection", role: "region", "aria-label": W.actions, hidden: true });
    this.said = h("p", { class: "unseen", role: "status" });
    const say = (text) => { this.said.textContent = text; };
    this.order = sortable(this.list, { signal, say, done: (order, before) => this.reorder(order, before) });
  }

  async load() {
    const data = await this.editor.load();
    this.name = this.text("title", { class: "", "aria-label": W.rename, required: true, maxlength: 255 });
    this.about = this.text("description", { "aria-label": W.about, placeholder: W.noAbout, lines: true });
    this.name.element.classList.add("title");
    this.main.append(h("p", {}, h("a", { href: "#/collections" }, `← ${W.back}`)), this.heading,
      h("div", { class: "head" }, this.name.element, this.about.element, this.meta, this.tools()), this.said, this.list, this.message, this.bar);
    this.render(data);
  }

  // Another window changed the collection; our own changes come back too, and are known.
  async follow(change) {
    if (change?.change === "deleted") return this.showGone();
    if (!change || this.editor.etag?.includes(change.version)) return;
    await this.order.settle();
    await this.editor.load().then((data) => this.render(data), (error) => error.status === 404 && this.showGone());
  }

  showGone() {
    const back = h("a", { class: "button primary", href: "#/collections" }, W.back);
    this.main.replaceChildren(empty(W.gone, W.goneHint, back));
  }

  text(key, attributes) {
    return this.field(key, (collection) => collection[key], (mine) => ({ [key]: mine }), attributes);
  }

  field(name, part, body, attributes) {
    return textField({ draft: `${this.uuid}:${name}`, value: part(this.editor.data), signal: this.signal, ...attributes,
      save: async (mine, base) => {
        await this.editor.change({ part, base, mine, body, show: (text) => text });
        this.render(this.editor.data);
        return part(this.editor.data);
      } });
  }

  tools() {
    const file = (kind) => save(`collection/${this.uuid}/export/?format=${kind}`, `${this.editor.data.title}.${kind}`);
    const download = (kind) => button(W[kind], () => file(kind), "small", { "aria-label": `${W.export} ${W[kind]}` });
    this.select = button(W.select, () => this.selecting(this.bar.hidden), "small", { "aria-pressed": "false" });
    this.find = h("a", { class: "button small", href: "#/movies" }, W.find);
    return h("div", { class: "actions" }, button(W.share, () => shareDialog(this.uuid), "primary small"), this.find, this.select, download("csv"), download("json"),
      button(W.delete, () => this.delete(), "danger small"));
  }

  render(data) {
    if (this.signal.aborted) return;
    const movies = data.movies.filter(({ uuid }) => !this.leaving.has(uuid));
    document.title = `${data.title} · ${words.name}`;
    this.heading.textContent = data.title;
    this.name.update(data.title);
    this.about.update(data.description);
    this.meta.textContent = `${words.films(movies.length)} · ${W.updated(data.updated_at)}`;
    const rows = movies.map((movie) => this.row(movie)), shown = [...this.list.children];
    const same = rows.length === shown.length && rows.every((row, index) => row === shown[index]);
    if (!same && !this.order.moving()) this.list.replaceChildren(...rows); // the end of a move renders again
    const find = h("a", { class: "button primary", href: "#/movies" }, W.find);
    this.message.replaceChildren(...(movies.length ? [] : [empty(W.empty, W.emptyHint, find)]));
    this.select.hidden = this.find.hidden = !movies.length;
  }

  // The row of a film; the same one as before, so that the focus and what is typed stay.
  row(movie) {
    const before = this.rows.get(movie.uuid);
    if (before) {
      before.note.update(movie.note ?? "");
      return before.element;
    }
    const name = named(movie), note = this.note(movie);
    const box = h("input", { type: "checkbox", "aria-label": W.check(name), checked: this.picked.has(movie.uuid), hidden: this.bar.hidden,
      change: () => { this.picked[box.checked ? "add" : "delete"](movie.uuid); this.showSelection(); } });
    const handle = button("⠿", () => {}, "icon handle", { "aria-label": W.move(name), title: W.moveHint, hidden: !this.bar.hidden });
    const element = h("li", { class: "row", "data-uuid": movie.uuid, "data-name": name }, h("div", {}, handle, box), poster(movie),
      h("div", { class: "about" }, h("h2", {}, movie.title), h("p", {}, [movie.year, genresOf(movie).join(", ")].filter(Boolean).join(" · ")), note.element),
      button("✕", () => this.remove([movie]), "icon", { "aria-label": W.remove(name), title: W.remove(name) }));
    this.rows.set(movie.uuid, { element, note, box, handle });
    return element;
  }

  note(movie) {
    const part = (collection) => collection.movies.find(({ uuid }) => uuid === movie.uuid)?.note ?? "";
    const noted = ({ note, ...rest }, text) => (text ? { ...rest, note: text } : rest);
    const body = (mine, { movies }) => ({ movies: movies.map((each) => (each.uuid === movie.uuid ? noted(each, mine) : each)) });
    return this.field(movie.uuid, part, body, { lines: true, maxlength: 2000, "aria-label": W.note(named(movie)), placeholder: W.addNote });
  }

  async reorder(order, before) {
    if (order.join() === before.join()) return this.render(this.editor.data);
    await flush();
    const part = ({ movies }) => movies.map(({ uuid }) => uuid);
    const names = new Map(this.editor.data.movies.map((movie) => [movie.uuid, named(movie)]));
    const show = (uuids) => h("ol", {}, uuids.map((uuid, index) => h("li", {}, `${index + 1}. ${names.get(uuid) ?? "…"}`)));
    const body = (mine, collection) => ({ movies: inOrder(mine, part(collection)) }), path = `${this.editor.path}order/`;
    await this.attempt(() => this.editor.change({ part, base: before, mine: order, body, path, show }));
    this.render(this.editor.data);
  }

  // Removes films from sight, and from the collection when that cannot be undone any more.
  remove(movies) {
    const moved = this.order.settle(); // the end of that renders
    const gone = movies.map(({ uuid }) => uuid), first = [...this.list.children].findIndex((row) => row.dataset.uuid === gone[0]);
    const again = () => { gone.forEach((uuid) => this.leaving.delete(uuid)); this.render(this.editor.data); };
    gone.forEach((uuid) => { this.leaving.add(uuid); this.picked.delete(uuid); });
    if (moved) gone.forEach((uuid) => this.rows.get(uuid)?.element.remove());
    else this.render(this.editor.data);
    this.showSelection();
    (this.list.children[Math.min(first, this.list.children.length - 1)]?.lastElementChild ?? this.name.field).focus();
    later(W.removed(movies.length === 1 ? movies[0].title : words.films(movies.length)), async () => {
      await this.attempt(() => Promise.all(gone.map((uuid) => remove(this.uuid, uuid))));
      if (!this.signal.aborted) await this.editor.load().catch(() => {});
      again();
    }, again);
  }

  delete() {
    const { title: name } = this.editor.data;
    deleting.add(this.uuid);
    go("collections");
    const keep = () => deleting.delete(this.uuid), undo = () => go(`collections/${this.uuid}`, keep());
    const again = () => keep() && changes.dispatchEvent(new CustomEvent("change")); // the list is read again
    const send = () => this.attempt(() => call("DELETE", `collection/${this.uuid}/`, { keepalive: true })).finally(again);
    addEventListener("hashchange", () => later(W.deleted(name), send, undo), { once: true }); // the next view flushes before
  }

  selecting(on) {
    this.bar.hidden = !on;
    this.select.textContent = on ? W.done : W.select;
    this.select.setAttribute("aria-pressed", String(on));
    if (!on) this.picked.clear();
    for (const { box, handle } of this.rows.values()) {
      Object.assign(box, { hidden: !on, checked: false });
      handle.hidden = on;
    }
    this.showSelection();
  }

  showSelection() {
    if (this.bar.hidden) return;
    const chosen = () => this.editor.data.movies.filter(({ uuid }) => this.picked.has(uuid)), none = !this.picked.size;
    const all = () => {
      for (const [uuid, { box, element }] of this.rows) if (element.isConnected) { box.checked = true; this.picked.add(uuid); }
      this.showSelection();
    };
    this.bar.replaceChildren(h("p", { role: "status" }, W.selected(this.picked.size)), button(W.checkAll, all, "small"),
      button(W.copySelected, () => copyDialog(chosen(), () => this.selecting(false)), "small", { disabled: none }),
      button(W.removeSelected, () => this.remove(chosen()), "danger small", { disabled: none }));
  }

  attempt(action) {
    return action().catch((error) => toast(error.message));
  }
}

// The order that was wished for, of the films that are there: those unknown to it stay at the end.
function inOrder(wished, there) {
  const known = new Set(wished), present = new Set(there);
  return [...wished.filter((uuid) => present.has(uuid)), ...there.filter((uuid) => !known.has(uuid))];
}
