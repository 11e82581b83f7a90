// Windows over the page: the browser keeps the focus inside, closes them with Escape and gives the focus back.
import { button, h } from "./dom.js";
import words from "./words.js";

let made = 0;

// Shows content under a title; gives the element, whose "close" event and close() are those of the browser.
export function dialog(title, ...content) {
  const id = `dialog-${++made}`;
  const shown = h("dialog", { "aria-labelledby": id },
    h("header", {}, h("h2", { id }, title), button("✕", () => shown.close(), "icon", { "aria-label": words.close })), content);
  shown.addEventListener("close", () => shown.remove());
  shown.addEventListener("click", (event) => event.target === shown && shown.close());
  document.body.append(shown);
  shown.showModal();
  return shown;
}

// A text to be copied, also where the page is not served over https: a field and a button.
export function copyField(text, value) {
  const field = h("input", { value, readonly: true, "aria-label": text });
  const done = button(words.copy, async () => {
    field.select();
    await navigator.clipboard?.writeText(value).catch(() => {});
    if (navigator.clipboard || document.execCommand("copy")) done.textContent = words.copied;
  }, "primary", { "aria-live": "polite" });
  return h("p", { class: "copy" }, field, done);
}
