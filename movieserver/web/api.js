// Requests to the API: authorization, silent renewal, errors, entity tags, pages.
import { BASE, forget, keep, read } from "./session.js";
import words from "./words.js";
const known = new Map(); // path → the response that was read last, which is not sent again while it is current
export const reach = new EventTarget(); // "lost" and "back": whether the server responds
export let lost = false;
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
export async function call(method, path, { body, headers = {}, open = false, text = false, seconds = 30, again = true, ...more } = {}) {
  const sent = { Accept: text ? "*/*" : "application/json", ...headers };
  if (!open) sent.Authorization = `Bearer ${await accessToken()}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const response = await request(new URL(path, BASE), {
    method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    credentials: "omit", signal: AbortSignal.timeout(1000 * seconds), ...more,
  });
  if (response.status === 401 && !open && again) {
    if (sent.Authorization === `Bearer ${read()?.access}`) await renew(); // or another request has done so already
    return call(method, path, { body, headers, text, seconds, again: false, ...more });
  }
  if (!response.ok && response.status !== 304) throw new Problem(response.status, await response.json().catch(() => ({})));
  return {
    status: response.status, etag: response.headers.get("ETag"), link: response.headers.get("Link"),
    data: text ? await response.blob() : await response.json().catch(() => null),
  };
}

async function request(address, init) {
  try {
    const response = await fetch(address, init);
    reached(true);
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reached(false);
    throw new Problem(0);
  }
}

// Asks whether the server is back.
export function probe() {
  return request(new URL("healthz", BASE), { cache: "no-store" }).catch(() => {});
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
  const now = read();
  if (!now) throw new Problem(401, { detail: words.expired });
  if (Date.now() < now.expires - 10_000) return now.access;
  await renew();
  return read()?.access;
}

// Another window may have renewed the tokens meanwhile: what is stored counts.
function renew() {
  renewing ??= call("POST", "refresh/", { body: { refresh_token: read().refresh }, open: true })
    .then((response) => keep(response.data))
    .catch((error) => {
      if (error.status === 401) forget(words.expired);
      throw error;
    })
    .finally(() => { renewing = undefined; });
  return renewing;
}
