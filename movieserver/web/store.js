// The user's collections as the API has them, and what is typed but not saved yet.
import { call, get, pathOf } from "./api.js";
import { read } from "./session.js";

// What `take` finds on all pages of a list, following `next`.
async function walk(path, take) {
  const all = [];
  for (let next = path; next;) {
    const { data } = await get(next);
    all.push(...take(data));
    next = pathOf(data.next);
  }
  return all;
}

export const deleting = new Set(); // the uuids of collections whose deletion can still be undone
export const listed = (page) => page.data.collections.filter(({ uuid }) => !deleting.has(uuid));
export const titles = () => walk("collection/?movies=false&limit=100", listed);
export const whole = () => walk("collection/?limit=100", (page) => page.data.collections);
export const genres = () => walk("genres/", (page) => page.genres);
export const holding = (movie) => walk(`movies/${movie.uuid}/collections/?limit=100`, (page) => page.collections);

// crypto.randomUUID() is there over https and on localhost only.
const newKey = () => crypto.randomUUID?.() ?? String(Math.random());

// Gives a function that creates a collection: what it sends again after a failure is not created twice.
export function creator() {
  let key, sent;
  return async (collection) => {
    const text = JSON.stringify(collection);
    if (text !== sent) [key, sent] = [newKey(), text];
    const { data } = await call("POST", "collection/", { body: collection, headers: { "Idempotency-Key": key } });
    sent = undefined;
    return data.collection_uuid;
  };
}

export const add = (uuid, movies) => call("POST", `collection/${uuid}/movies/`, { body: { movies } });
export const remove = (uuid, movie) => call("DELETE", `collection/${uuid}/movies/${movie}/`, { keepalive: true })
  .catch((error) => { if (error.status !== 404) throw error; }); // somebody else has removed it
export function genresOf(movie) {
  return (movie.genres ?? "").split(",").map((name) => name.trim()).filter(Boolean);
}
export function named(movie) {
  return movie.year ? `${movie.title} (${movie.year})` : movie.title;
}

// Text that was typed and is not saved yet outlives a reload, a failure and a new login of the same user.
const key = (name) => `draft:${read()?.name}:${name}`;
export const drafts = {
  get: (name) => JSON.parse(sessionStorage.getItem(key(name)) ?? "null"),
  keep: (name, draft) => sessionStorage.setItem(key(name), JSON.stringify(draft)),
  drop: (name) => sessionStorage.removeItem(key(name)),
};
