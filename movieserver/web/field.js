// A text that is saved when its field is left, and kept as a draft until it is saved.
import { reach } from "./api.js";
import { h } from "./dom.js";
import { drafts } from "./store.js";
import words from "./words.js";

// `save(text, base)` stores the text typed over `base`; it gives the text that is stored then.
export function textField({ draft, value, save, lines = false, signal, ...attributes }) {
  const before = drafts.get(draft);
  let base = before?.base ?? value, saved = Promise.resolve();
  const status = h("small", { class: "status", role: "status" });
  const field = h(lines ? "textarea" : "input", { value: before?.text ?? value, rows: lines && 1, autocomplete: "off", ...attributes });
  const keep = () => (field.value === base ? drafts.drop(draft) : drafts.keep(draft, { text: field.value, base }));

  // A change made during a save is saved after it.
  async function storeNow() {
    const text = field.value;
    if (text === base) return keep();
    if (!field.checkValidity()) return field.reportValidity();
    try {
      base = await save(text, base);
      if (field.value === text) field.value = base;
      keep();
      status.textContent = words.saved;
      setTimeout(() => { status.textContent = ""; }, 2000);
    } catch (error) {
      status.textContent = error.away ? words.unsaved : error.message;
    }
  }

  const store = () => { saved = saved.then(storeNow); };
  field.addEventListener("input", keep);
  field.addEventListener("change", store);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !lines) {
      event.preventDefault(); // or the same key would press a button of a dialog that opens now
      field.blur();
    }
    if (event.key !== "Escape") return;
    field.value = base;
    drafts.drop(draft);
    field.blur();
  });
  reach.addEventListener("back", store, { signal });
  if (before) store();
  // What another window stored is shown, unless something is being typed here.
  const update = (text) => {
    if (field.value !== base || document.activeElement === field) return;
    base = text;
    field.value = text;
  };
  return { element: h("div", { class: "text-field" }, field, status), field, update };
}
