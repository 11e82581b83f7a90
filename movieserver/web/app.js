// The frame of the page: header, navigation, the view of the address, and what is said when the server does not respond.
import { Problem, forgetResponses, lost, probe, reach } from "./api.js";
import { button, empty, h } from "./dom.js";
import { follow, unfollow } from "./live.js";
import { leave, where } from "./router.js";
import { BASE, changed, read } from "./session.js";
import { flush, toast } from "./toast.js";
import * as account from "./account.js";
import * as collection from "./collection.js";
import * as collections from "./collections.js";
import * as enter from "./enter.js";
import * as genres from "./genres.js";
import * as movies from "./movies.js";
import * as shared from "./shared.js";
import * as transfer from "./transfer.js";
import words from "./words.js";

// A view exports title(), and show(main, signal, argument), which fills the page until the signal aborts.
const VIEWS = { movies, collections, genres, transfer, account };
const NAV = [["movies", "▦"], ["collections", "❏"], ["genres", "▥"], ["transfer", "⇅"], ["account", "☻"]];
const page = document.getElementById("page");
let shown = 0;

function find() {
  const [name = "movies", argument] = where();
  if (name === "shared") return [shared, argument];
  if (!read()) return [enter];
  if (name === "collections" && argument) return [collection, argument, name];
  return [VIEWS[name], argument, name];
}

async function render() {
  const signal = leave(), [view, argument, name] = find(), main = h("main", { id: "main", tabindex: -1 });
  flush();
  document.querySelector("dialog")?.close();
  page.replaceChildren(...frame(view, name, main));
  document.title = view?.title ? `${view.title()} · ${words.name}` : words.name;
  scrollTo(0, 0);
  if (shown++) main.focus({ preventScroll: true });
  await attempt(main, signal, () => (view ? view.show(main, signal, argument) : nothing(main)));
}

// Shows a view, or what went wrong and how to try again.
async function attempt(main, signal, show) {
  try {
    await show();
  } catch (error) {
    if (signal.aborted || (error.status === 401 && !read())) return;
    const again = () => signal.aborted || render();
    main.replaceChildren(empty(words.failed, error.message, button(words.retry, again, "primary")));
    if (error.away) reach.addEventListener("back", again, { signal, once: true });
  }
}

function nothing(main) {
  const { title, text, go } = words.notFound;
  main.append(h("h1", { class: "unseen" }, title), empty(title, text, h("a", { class: "button primary", href: "#/movies" }, go)));
}

function frame(view, name, main) {
  const bare = view === shared || view === enter;
  const logo = h("span", { class: "logo", "aria-hidden": "true" }, h("i"), h("i"));
  return [
    h("a", { class: "skip", href: "#main", click: (event) => { event.preventDefault(); main.focus(); } }, words.nav.skip),
    h("header", { class: "top" }, h("a", { class: "brand", href: BASE.pathname }, logo, words.name), bare ? null : navigation(name)),
    h("p", { id: "offline", role: "status", hidden: !lost }, lost ? words.offline : ""),
    main,
    h("footer", { class: "foot" }, h("a", { href: `${BASE.pathname}docs/` }, words.nav.docs)),
  ];
}

function navigation(current) {
  return h("nav", { "aria-label": words.nav.label }, NAV.map(([name, sign]) => h("a",
    { href: `#/${name}`, "aria-current": name === current && "page" },
    h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", {}, words.nav[name]))));
}

function signedOut(event) {
  unfollow(true);
  forgetResponses();
  if (event.detail) toast(event.detail);
  render();
}

let asking;

function serverLost() {
  Object.assign(document.getElementById("offline"), { hidden: false, textContent: words.offline });
  asking ??= setInterval(probe, 3000);
}

function serverBack() {
  asking = clearInterval(asking);
  document.getElementById("offline").hidden = true;
}

reach.addEventListener("lost", serverLost);
reach.addEventListener("back", serverBack);
addEventListener("unhandledrejection", (event) => { // what a click could not do, where nothing else shows it
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  toast(event.reason.message);
});
changed.addEventListener("in", () => { follow(); render(); });
changed.addEventListener("out", signedOut);
addEventListener("hashchange", render);
if (read()) follow();
render();
