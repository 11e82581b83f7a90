// One collection that is being changed. Nothing is overwritten that was not seen: every change names the version that it
// was made on, and where another one came first, both are shown and the user chooses.
import { call, get } from "./api.js";
import { dialog } from "./dialog.js";
import { button, h } from "./dom.js";
import words from "./words.js";
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export class Editor {
  #queue = Promise.resolve();

  constructor(uuid) {
    this.path = `collection/${uuid}/`;
  }

  async load() {
    const { data, etag } = await get(this.path);
    Object.assign(this, { data, etag });
    return data;
  }

  // One change after the other. `part(collection)` is what changes, `base` that part as the user saw it, `mine` as it is
  // to be; `body(mine, collection)` and `path` make the request; `show` makes a part readable. Fails without a choice.
  change(step) {
    const done = this.#queue.then(() => this.#change(step));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #change({ part, base, mine, body, path = this.path, show }) {
    let seen = base;
    for (;;) {
      const theirs = part(this.data);
      if (!same(theirs, seen) && !same(theirs, mine)) {
        if (!await choose(show(mine), show(theirs))) return;
        seen = theirs;
      }
      try {
        await call("PUT", path, { body: body(mine, this.data), headers: { "If-Match": this.etag } });
        return await this.load();
      } catch (error) {
        if (error.status !== 412) throw error;
        await this.load();
      }
    }
  }
}

function choose(mine, theirs) {
  return new Promise((resolve, reject) => {
    const pick = (yes) => () => { resolve(yes); shown.close(); };
    const side = (title, content, text, yes) => h("section", {}, h("h3", {}, title),
      h("div", { class: "version" }, content || words.conflict.blank), button(text, pick(yes), yes ? "primary" : ""));
    const shown = dialog(words.conflict.title, h("p", {}, words.conflict.text), h("div", { class: "versions" },
      side(words.conflict.mine, mine, words.conflict.keepMine, true),
      side(words.conflict.theirs, theirs, words.conflict.keepTheirs, false)));
    shown.addEventListener("close", () => reject(new Error(words.conflict.open)));
  });
}
