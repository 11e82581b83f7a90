// Follows the changes that other windows and programs make, while this window is visible.
import { call } from "./api.js";
import { read } from "./session.js";

export const changes = new EventTarget(); // "change" with a Map: uuid of a collection → its last change
const WAIT = 25;
let running;

export function follow() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  run(signal).catch(() => !signal.aborted && setTimeout(() => !signal.aborted && follow(), 3000));
}

export const unfollow = () => running?.abort();

async function run(signal) {
  let since = await catchUp(signal);
  while (!signal.aborted && read()) {
    if (document.hidden) await visible(signal);
    const page = await ask(since, WAIT, signal);
    if (!page) { // the cursor is too old
      since = await catchUp(signal);
      tell(null);
    } else {
      since = page.next;
      if (page.changes.length) tell(new Map(page.changes.map((each) => [each.collection_uuid, each])));
    }
  }
}

async function catchUp(signal) {
  let page, since = "";
  do {
    page = await ask(since, 0, signal);
    since = page.next;
  } while (page.more);
  return since;
}

async function ask(since, wait, signal) {
  const query = new URLSearchParams({ ...(since && { since }), wait, limit: 100 });
  try {
    return (await call("GET", `changes/?${query}`, { signal })).data;
  } catch (error) {
    if (error.status === 410) return null;
    throw error;
  }
}

const tell = (detail) => changes.dispatchEvent(new CustomEvent("change", { detail }));
const visible = (signal) => new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true, signal }));
