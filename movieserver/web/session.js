// Who is signed in. "Stay signed in" keeps the tokens in localStorage, otherwise they end with this window.

export const BASE = new URL("../../", import.meta.url);
const KEY = `movieserver:${BASE.pathname}`;
export const changed = new EventTarget();

export function read() {
  return JSON.parse(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "null");
}

const store = (next) => (next.stay ? localStorage : sessionStorage).setItem(KEY, JSON.stringify(next));

// A tab that was duplicated has the same tokens, and they can be renewed once.
const tabs = new BroadcastChannel(KEY);
tabs.addEventListener("message", ({ data: { before, next } }) => read()?.refresh === before && store(next));

// `tokens` is what the server sent; `more` adds the name and whether to stay.
export function keep(tokens, more = {}) {
  const next = {
    ...read(), ...more, access: tokens.access_token, refresh: tokens.refresh_token,
    expires: Date.now() + 1000 * tokens.expires_in,
  };
  const before = read()?.refresh;
  store(next);
  if (before) tabs.postMessage({ before, next });
  if (more.name) changed.dispatchEvent(new CustomEvent("in"));
}

// Forget the tokens; `message` tells the user why, if they did not ask for it.
export function forget(message = "") {
  if (!read()) return;
  for (const place of [sessionStorage, localStorage]) place.removeItem(KEY);
  changed.dispatchEvent(new CustomEvent("out", { detail: message }));
}

// Another window signed in or out.
addEventListener("storage", (event) => {
  if (event.key === KEY && !event.newValue !== !event.oldValue) {
    changed.dispatchEvent(new CustomEvent(event.newValue ? "in" : "out", { detail: "" }));
  }
});
