// Short messages at the edge of the page, which are read out; and actions that can be undone while one is shown.
import { button, h } from "./dom.js";
import words from "./words.js";
const SECONDS = 7;
const pending = new Set();

export function toast(text, ...actions) {
  const shown = h("div", { class: "toast" }, h("p", {}, text), actions);
  document.getElementById("toasts").append(shown);
  const timer = setTimeout(() => shown.remove(), 1000 * SECONDS);
  return () => { clearTimeout(timer); shown.remove(); };
}

// Tells what was done; does it when nobody can undo it any more. `undo` puts back what is shown.
export function later(text, run, undo) {
  const finish = (action) => {
    pending.delete(step);
    clearTimeout(timer);
    close();
    return action();
  };
  const step = { finish: () => finish(run) };
  const close = toast(text, button(words.undo, () => finish(undo), "small"));
  const timer = setTimeout(step.finish, 1000 * SECONDS);
  pending.add(step);
}

// Does at once what still could be undone: before another change, or when the page is left.
export const flush = () => Promise.all([...pending].map((step) => step.finish()));

addEventListener("pagehide", flush);
