// Requests to the API: authorization, silent renewal, errors, entity tags, pages.
import { BASE, forget, keep, read } from "./session.js";
import words from "./words.js";
const known = new Map(); // path → the response that was read last, which is not sent again while it is current
export const reach = new EventTarget(); // "lost" and "back": whether the server responds
export let lost = false;
const SECONDS = 30, BODY_SECONDS = 300; // until there is a response, and until it is whole
let renewing;

// An error of the API (RFC 9457), or `status` 0 where there was no response.
export class Problem extends Error {
  constructor(status, body = {}) {
    super((body.errors?.map(({ detail }) => `${detail}.`) ?? [body.detail]).filter(Boolean).join(" ")
      || (status ? words.trouble : words.offlineError));
    Object.assign(this, { status, code: body.code, away: [0, 502, 503, 504].includes(status) });
  }
}

function reached(yes) {
  if (lost === yes) reach.dispatchEvent(new Event((lost = !yes) ? "lost" : "back"));
}

// Sends a request; gives {status, etag, data, link}. Throws a Problem. `open` needs no token, `text` gives a blob, and
// `again` renews a token that is refused; `more` goes to fetch().
export async function call(method, path, { body, headers = {}, open = false, text = false, again = true, signal, ...more } = {}) {
  const sent = { Accept: text ? "*/*" : "application/json", ...headers };
  if (!open) sent.Authorization = `Bearer ${await accessToken()}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const late = new AbortController(), timer = setTimeout(() => late.abort(new Problem(0)), 1000 * SECONDS);
  const signals = [late.signal, AbortSignal.timeout(1000 * BODY_SECONDS), ...(signal ? [signal] : [])];
  const response = await received(fetch(new URL(path, BASE), {
    method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    credentials: "omit", signal: AbortSignal.any(signals), ...more,
  }).finally(() => clearTimeout(timer)));
  if (response.status === 401 && !open && again) {
    if (sent.Authorization === `Bearer ${read()?.access}`) await renew(); // or another request has done so already
    return call(method, path, { body, headers, text, signal, again: false, ...more });
  }
  if (!response.ok && response.status !== 304) throw new Problem(response.status, await response.json().catch(() => ({})));
  return {
    status: response.status, etag: response.headers.get("ETag"), link: response.headers.get("Link"),
    data: response.status === 304 ? null : await received(text ? response.blob() : response.json()),
  };
}

// What comes over the network; a Problem if it does not come, or not whole.
async function received(promise) {
  try {
    const value = await promise;
    reached(true);
    return value;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "SyntaxError") throw new Problem(500); // not the server, but a proxy
    reached(false);
    throw new Problem(0);
  }
}

// Asks whether the server is back.
export function probe() {
  return received(fetch(new URL("healthz", BASE), { cache: "no-store" })).catch(() => {});
}

// GET, with the response of before if that is still current.
export async function get(path, more = {}) {
  const before = known.get(path);
  const { headers, ...rest } = more;
  const response = await call("GET", path, { ...rest, headers: { ...headers, ...(before && { "If-None-Match": before.etag }) } });
  if (response.status === 304) return before;
  if (response.etag) known.set(path, response);
  return response;
}

export const forgetResponses = () => known.clear();

// Follows `next`; only its path counts, so that it works behind any proxy.
export function pathOf(next) {
  if (!next) return null;
  const { pathname, search } = new URL(next, BASE);
  return pathname + search;
}

async function accessToken() {
  if (Date.now() > read()?.expires - 10_000) await renew();
  const now = read();
  if (!now) throw new Problem(401, { detail: words.expired });
  return now.access;
}

// Another window may have renewed the tokens meanwhile, or have signed out: what is stored counts.
function renew() {
  const { refresh } = read(), current = () => read()?.refresh === refresh;
  renewing ??= call("POST", "refresh/", { body: { refresh_token: refresh }, open: true })
    .then(({ data }) => current() && keep(data))
    .catch((error) => {
      if (error.status === 401 && current()) forget(words.expired);
      throw error;
    })
    .finally(() => { renewing = undefined; });
  return renewing;
}
