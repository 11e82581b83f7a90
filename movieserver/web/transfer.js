// Lists of other services come in, everything goes out.
import { Problem, call, pathOf } from "./api.js";
import { button, h, label, options } from "./dom.js";
import { BASE, read } from "./session.js";
import { titles } from "./store.js";
import words from "./words.js";
const W = words.transfer;
const MAX_BYTES = 8 * 1024 * 1024, MAX_LINES = 1000, SECONDS = 300, SHOWN = 8; // seconds of an import, films in its preview
const KINDS = { csv: "text/csv", json: "application/json", ndjson: "application/x-ndjson", jsonl: "application/x-ndjson" };
export const title = () => W.title;

export function show(main, signal) {
  const steps = h("div", {});
  main.append(h("h1", {}, W.title), h("div", { class: "panels" },
    h("section", { class: "panel" }, h("h2", {}, W.import), steps),
    h("section", { class: "panel" }, h("h2", {}, W.export), h("p", { class: "soft" }, W.exportText),
      button(W.download, () => save("export/", "collections.ndjson").catch((error) => refuse(steps, error.message)), "primary"))));
  choose(steps);
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault(), { signal });
}

function refuse(steps, text) {
  choose(steps);
  steps.append(h("p", { class: "wrong", role: "alert" }, text));
}

function choose(steps) {
  const input = h("input", { type: "file", accept: ".csv,.json,.ndjson,.jsonl,text/csv,application/json", change: () => preview(steps, input.files[0]) });
  const over = (yes) => () => drop.classList.toggle("over", yes);
  const drop = h("label", { class: "drop", dragover: over(true), dragleave: over(false), drop: (event) => {
    event.preventDefault();
    preview(steps, event.dataTransfer.files[0]);
  } }, input, h("strong", {}, W.drop), h("small", {}, W.kinds));
  steps.replaceChildren(drop);
}

// Shows what a file has in it before anything is sent.
async function preview(steps, file) {
  if (!file) return;
  const text = await file.text(), extension = file.name.split(".").pop().toLowerCase();
  const kind = KINDS[extension] ?? (/^\s*\{/.test(text) ? KINDS.ndjson : KINDS.csv);
  const { known, names } = kind === KINDS.csv ? ofCsv(text) : ofJson(text, kind);
  if (!names) return refuse(steps, W.unreadable);
  if (kind !== KINDS.ndjson && file.size > MAX_BYTES) return refuse(steps, W.tooLarge);
  const into = h("select", {}, options([["", W.fresh]])), go = button(W.start, () => send(steps, parts(text, kind), kind, into.value), "primary");
  steps.replaceChildren(h("p", {}, h("strong", {}, file.name), h("br"), h("small", {}, `${W.known[known]} · ${W.rows(names.length)}`)),
    h("ul", { class: "preview" }, names.slice(0, SHOWN).map((name) => h("li", {}, name)),
      names.length > SHOWN && h("li", { class: "soft" }, W.rest(names.length - SHOWN))),
    kind === KINDS.csv ? label(W.into, into) : "", h("p", { class: "actions" }, go, button(W.other, () => choose(steps))));
  go.focus();
  into.append(...options((await titles().catch(() => [])).map(({ uuid, title: name }) => [uuid, name])));
}

function ofJson(text, kind) { // one collection, or one in every line
  try {
    const collections = (kind === KINDS.ndjson ? text.split("\n").filter((line) => line.trim()) : [text]).map((each) => JSON.parse(each));
    if (!collections.length || collections.some(({ title: name }) => name === undefined)) return {};
    return { known: "own", names: collections.flatMap(({ movies }) => (movies ?? []).map((movie) => movie.title)) };
  } catch {
    return {};
  }
}

// Only for the preview: the server reads the file itself.
function ofCsv(text) {
  const rows = csv(text), at = rows.findIndex((row) => row.some((cell) => /^(name|title)$/i.test(cell.trim())));
  if (at < 0) return {};
  const header = rows[at].map((cell) => cell.trim().toLowerCase()), has = (name) => header.includes(name);
  const name = header.findIndex((cell) => cell === "name" || cell === "title"), year = header.indexOf("year");
  const known = has("letterboxd uri") || (has("url") && has("name")) ? "letterboxd"
    : has("const") ? "imdb" : has("trakt_id") ? "trakt" : has("uuid") ? "own" : "csv";
  const titled = rows.slice(at + 1).filter((row) => row[name]?.trim());
  return { known, names: titled.length && titled.map((row) => (row[year] ? `${row[name]} (${row[year]})` : row[name])) };
}

function csv(text) {
  const [head] = text.split("\n", 1), count = (mark) => head.split(mark).length;
  const comma = [",", ";", "\t"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  const rows = [[]], cells = new RegExp(`("(?:[^"]|"")*"|[^${comma}\\n\\r]*)(${comma}|\\r?\\n|$)`, "gy");
  for (const [whole, cell, end] of text.replace(/^\ufeff/, "").matchAll(cells)) {
    if (!whole) break;
    rows.at(-1).push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end !== comma) rows.push([]);
  }
  return rows;
}

// A file of many collections in parts that the server takes; `numbers` are those of its lines in the file.
function parts(text, kind) {
  if (kind !== KINDS.ndjson) return [{ text }];
  const all = [{ text: "", numbers: [] }];
  text.split("\n").forEach((line, index) => {
    if (!line.trim()) return;
    const { text: before, numbers } = all.at(-1);
    if (numbers.length === MAX_LINES || before.length + line.length > MAX_BYTES / 4) all.push({ text: "", numbers: [] });
    all.at(-1).text += `${line}\n`;
    all.at(-1).numbers.push(index + 1);
  });
  return all;
}

async function send(steps, all, kind, into) {
  const bar = h("progress", { max: all.length, value: 0, "aria-label": W.progress });
  steps.replaceChildren(h("p", { role: "status" }, W.sending), bar);
  const sum = { added: 0, existing: 0, skipped: 0, collections: [], errors: [] };
  try {
    for (const [index, { text, numbers }] of all.entries()) {
      const done = await upload(text, kind, into, (share) => { bar.value = index + share; });
      for (const error of done.errors) error.line = numbers?.[error.line - 1] ?? error.line;
      for (const key of Object.keys(sum)) sum[key] = sum[key].concat?.(done[key]) ?? sum[key] + done[key];
    }
    finished(steps, sum);
  } catch (error) {
    refuse(steps, error.message);
  }
}

// fetch() does not tell how much has been sent, XMLHttpRequest does.
async function upload(text, kind, into, progress) {
  await call("GET", "collection/?limit=1&movies=false"); // renews the token if that is due
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL(`import/${into && `?into=${into}`}`, BASE));
    request.setRequestHeader("Authorization", `Bearer ${read().access}`);
    request.setRequestHeader("Content-Type", kind);
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(0.9 * loaded / total));
    Object.assign(request, { responseType: "json", timeout: 1000 * SECONDS }); // a response that is no JSON is null
    request.addEventListener("load", () => {
      if (request.status === 200 && request.response) resolve(request.response);
      else reject(new Problem(request.status, request.response ?? {}));
    });
    for (const name of ["error", "timeout"]) request.addEventListener(name, () => reject(new Problem(0)));
    request.send(text);
  });
}

function finished(steps, { added, existing, skipped, collections, errors }) {
  const target = collections.length === 1 ? [`#/collections/${collections[0].uuid}`, W.open] : ["#/collections", W.look];
  const heading = h("h3", { tabindex: -1 }, W.done), column = (text) => h("th", { scope: "col" }, text);
  const rows = errors.map(({ line, detail }) => h("tr", {}, h("td", {}, String(line)), h("td", {}, detail)));
  const table = h("table", {}, h("thead", {}, h("tr", {}, column(W.line), column(W.reason))), h("tbody", {}, rows));
  steps.replaceChildren(heading, h("p", { role: "status" }, W.result(added, existing, skipped)),
    errors.length ? h("section", {}, h("h3", {}, W.errors), table) : "",
    h("p", { class: "actions" }, h("a", { class: "button primary", href: target[0] }, target[1]), button(W.other, () => choose(steps))));
  heading.focus();
}

// Downloads a file, of all its pages.
export async function save(path, name) {
  const blobs = [];
  for (let next = path; next;) {
    const { data, link } = await call("GET", next, { text: true });
    blobs.push(data);
    next = pathOf(/<([^>]+)>; rel="next"/.exec(link ?? "")?.[1]);
  }
  const address = URL.createObjectURL(new Blob(blobs));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
