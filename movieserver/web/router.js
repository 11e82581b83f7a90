// Which view an address shows: #/collections/<uuid> is the view "collections" with one argument.
import { BASE } from "./session.js";
const SHARED = /^shared\/([^/]+)\/?$/;
let leaving = new AbortController();

export function where() {
  const shared = SHARED.exec(location.pathname.slice(BASE.pathname.length));
  if (shared) return ["shared", shared[1]];
  return location.hash.slice(2).split("?")[0].split("/").filter(Boolean).map(decodeURIComponent);
}

// What stands behind the ? of the address, such as a search.
export function asked() {
  return new URLSearchParams(location.hash.split("?")[1] ?? "");
}

export function ask(values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  history.replaceState(null, "", `#/${where().join("/")}${query.size ? `?${query}` : ""}`);
}

export function go(path) {
  if (location.hash === `#/${path}`) dispatchEvent(new Event("hashchange"));
  else location.hash = `#/${path}`;
}

// Ends what the view of before still does; the signal of the next one.
export function leave() {
  leaving.abort();
  leaving = new AbortController();
  return leaving.signal;
}
