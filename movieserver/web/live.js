// Follows the changes that other windows and programs make, while this window is visible: a browser has few connections
// to a server for all its windows, and each that waits takes one.
import { call } from "./api.js";
import { read } from "./session.js";

export const changes = new EventTarget(); // "change" with a Map: uuid of a collection → its last change; null: any
const WAIT = 25;
let running, since; // since: the cursor behind the last change that was read

export function follow() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  run(signal).catch(() => !signal.aborted && setTimeout(() => !signal.aborted && follow(), 3000));
}

export function unfollow(forget = false) {
  running?.abort();
  if (forget) since = undefined;
}

async function run(signal) {
  while (!signal.aborted && read()) {
    if (!since) await catchUp(signal);
    const start = performance.now(), page = await ask(since, WAIT, signal);
    since = page?.next;
    if (!page) { // the cursor is too old
      await catchUp(signal);
      tell(null);
    } else if (page.changes.length) tell(new Map(page.changes.map((each) => [each.collection_uuid, each])));
    else if (performance.now() - start < 1000) await pause(2000); // it did not wait
  }
}

async function catchUp(signal) {
  let page;
  do {
    page = await ask(page?.next ?? "", 0, signal);
  } while (page.more);
  since = page.next;
}

async function ask(cursor, wait, signal) {
  const query = new URLSearchParams({ ...(cursor && { since: cursor }), wait, limit: 100 });
  try {
    return (await call("GET", `changes/?${query}`, { signal })).data;
  } catch (error) {
    if (error.status === 410) return null;
    throw error;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const tell = (detail) => changes.dispatchEvent(new CustomEvent("change", { detail }));
document.addEventListener("visibilitychange", () => (document.hidden ? unfollow() : read() && follow()));
addEventListener("pagehide", () => unfollow());
addEventListener("pageshow", (event) => event.persisted && read() && follow());
