// The user's collections as stacks of covers.
import { get, pathOf } from "./api.js";
import { poster } from "./card.js";
import { dialog } from "./dialog.js";
import { button, empty, h, label, onSubmit, whenNear } from "./dom.js";
import { changes } from "./live.js";
import { go } from "./router.js";
import { creator, listed } from "./store.js";
import words from "./words.js";
const W = words.lists;
const FIRST = "collection/?limit=24", COVERS = 5;
export const title = () => W.title;

export async function show(main, signal) {
  const list = h("ul", { class: "stacks" }), message = h("div", {}), more = button(words.more, load, "more", { hidden: true });
  main.append(h("div", { class: "bar" }, h("h1", {}, W.title), button(W.fresh, createDialog, "primary")), list, message, more);
  let next = FIRST, loading = false;

  async function load() {
    if (loading || !next) return;
    const path = next;
    [loading, next] = [true, null];
    const { data } = await get(path, { signal })
      .catch((error) => { next ??= path; throw error; }).finally(() => { loading = false; });
    if (next) return load(); // something has changed meanwhile
    next = pathOf(data.next);
    if (path === FIRST) list.replaceChildren();
    list.append(...listed(data).map(stack));
    more.hidden = !next;
    message.replaceChildren(...(list.children.length ? [] : [empty(W.empty, W.emptyHint, button(W.fresh, createDialog, "primary"),
      h("a", { class: "button", href: "#/transfer" }, W.bring))]));
  }

  changes.addEventListener("change", () => { next = FIRST; load().catch(() => {}); }, { signal });
  await load();
  whenNear(more, load, signal);
}

function stack({ uuid, title: name, description, movies, shared }) {
  const covers = movies.slice(0, COVERS).map(poster);
  if (!covers.length) covers.push(h("div", { class: "poster blank" }));
  return h("li", { class: "stack" }, h("div", { class: "covers", "aria-hidden": "true" }, covers),
    h("h2", {}, h("a", { href: `#/collections/${uuid}` }, name)),
    h("p", {}, words.films(movies.length), shared && " · ", shared && h("span", { class: "tag" }, W.shared)),
    description && h("p", {}, description));
}

function createDialog() {
  const create = creator();
  const form = h("form", {}, label(W.name, h("input", { name: "title", required: true, maxlength: 255, autocomplete: "off" })),
    label(W.about, h("textarea", { name: "description", rows: 3 })), h("button", { class: "button primary" }, W.create));
  const shown = dialog(W.fresh, onSubmit(form, async (values) => {
    const uuid = await create(values);
    shown.close();
    go(`collections/${uuid}`);
  }));
  form.elements.title.focus();
}
