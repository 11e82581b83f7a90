// Rows that are put in order by dragging their handle, or with the arrow keys on it.
import words from "./words.js";
const W = words.list;
const PAUSE = 700; // milliseconds after the last key before the order is saved
const EDGE = 90; // pixels from the edge of the window where it scrolls

// Calls `done(order, before)` with the uuids at the end of each move, even if nothing changed. Returns `settle()`, which
// saves pending moves by key at once, and `moving()`: whether a move is in progress, when rows must not be replaced.
export function sortable(list, { signal, say, done }) {
  let dragged, before, timer;
  const order = () => [...list.children].map((row) => row.dataset.uuid), finish = () => done(order(), before.split(","));
  const place = (row) => [...list.children].indexOf(row);
  const tell = (row) => say(W.moved(row.dataset.name, place(row) + 1, list.children.length));

  function start(event) {
    const handle = event.target.closest(".handle");
    if (!handle || event.button) return;
    settle();
    dragged = handle.closest("li");
    before = order().join();
    dragged.classList.add("dragged");
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  }

  function move(event) {
    if (!dragged) return;
    const { clientY } = event, other = [...list.children].find((row) => row !== dragged && within(row, clientY));
    if (other) other[place(other) < place(dragged) ? "before" : "after"](dragged);
    if (clientY < EDGE) scrollBy(0, -12);
    else if (clientY > innerHeight - EDGE) scrollBy(0, 12);
  }

  function end(event) {
    if (!dragged) return;
    const row = dragged;
    dragged = undefined;
    row.classList.remove("dragged");
    if (event.type === "pointercancel") restore();
    else if (order().join() !== before) tell(row);
    finish();
    row.querySelector(".handle").focus();
  }

  function restore() {
    const rows = new Map([...list.children].map((row) => [row.dataset.uuid, row]));
    list.append(...before.split(",").map((uuid) => rows.get(uuid)));
  }

  function key(event) {
    const handle = event.target.closest(".handle"), row = handle?.closest("li"), { length } = list.children;
    const to = row && { ArrowUp: place(row) - 1, ArrowDown: place(row) + 1, Home: 0, End: length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 || to >= length || to === place(row)) return;
    if (!timer) before = order().join();
    list.children[to][to < place(row) ? "before" : "after"](row);
    handle.focus();
    row.scrollIntoView({ block: "nearest" });
    tell(row);
    clearTimeout(timer);
    timer = setTimeout(save, PAUSE);
  }

  const settle = () => timer && save();

  function save() {
    clearTimeout(timer);
    timer = undefined;
    return finish();
  }

  list.addEventListener("pointerdown", start);
  list.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) list.addEventListener(name, end);
  list.addEventListener("keydown", key);
  signal.addEventListener("abort", settle);
  return { settle, moving: () => Boolean(dragged || timer) };
}

function within(row, y) {
  const { top, bottom } = row.getBoundingClientRect();
  return y > top && y < bottom;
}
