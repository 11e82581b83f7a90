// All films: search as you type, filter by genre, more while scrolling.
import { get, pathOf } from "./api.js";
import { cardToAdd } from "./add.js";
import { button, empty, h, whenNear } from "./dom.js";
import { ask, asked } from "./router.js";
import { genresOf } from "./store.js";
import words from "./words.js";
const W = words.movies;
const PAUSE = 250; // milliseconds without typing
const ENOUGH = 12; // films to show before it waits for scrolling, also where a genre leaves out many
const MAX_PAGES = 15; // that are read for them
export const title = () => W.title;

export function show(main, signal) {
  const browser = new Browser(signal), { query, genre } = Object.fromEntries(asked());
  const search = h("input", { type: "search", value: query ?? "", placeholder: W.search, "aria-label": W.search });
  let timer;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => browser.start(search.value.trim(), browser.genre), PAUSE);
  });
  main.append(h("div", { class: "bar" }, h("h1", {}, W.title), h("form", { role: "search", submit: (event) => event.preventDefault() }, search)),
    browser.chips, browser.count, browser.grid, browser.message, browser.more);
  whenNear(browser.more, () => browser.load(), signal);
  return browser.start(query ?? "", genre ?? "");
}

class Browser {
  constructor(signal) {
    this.signal = signal;
    this.grid = h("ul", { class: "grid", "aria-label": W.title });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": W.filter });
    this.count = h("p", { class: "count", role: "status" });
    this.message = h("div", {});
    this.more = button(words.more, () => this.load(), "more", { hidden: true });
  }

  async start(query, genre) {
    this.run?.abort();
    this.run = new AbortController();
    Object.assign(this, { query, genre, films: [], genres: this.genres ?? new Set(genre && [genre]), loading: false });
    ask({ query, genre });
    this.next = `movies/?${new URLSearchParams({ page: 1, ...(query && { query }) })}`;
    this.fresh = true; // the next page replaces what is shown
    await this.load();
  }

  async load() {
    if (this.loading || !this.next) return;
    this.loading = true;
    const { run } = this, before = this.fits().length; // another search ends this run
    this.grid.setAttribute("aria-busy", "true");
    try {
      for (let count = 0; this.next && count < MAX_PAGES; count += 1) {
        const { data } = await get(this.next, { signal: AbortSignal.any([run.signal, this.signal]) });
        if (run.signal.aborted) return;
        this.take(data);
        if (this.fits().length - before >= ENOUGH || (this.fits().length > before && !this.genre)) break;
      }
      this.finish();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
  }

  take({ data, count, next }) {
    if (this.fresh) this.grid.replaceChildren();
    this.fresh = false;
    this.films.push(...data);
    this.next = pathOf(next);
    this.count.textContent = this.query ? W.found(count) : "";
    this.grid.append(...this.fits(data).map(cardToAdd));
    data.flatMap(genresOf).forEach((name) => this.genres.add(name));
    this.showChips();
  }

  fits(films = this.films) {
    return this.genre ? films.filter((movie) => genresOf(movie).includes(this.genre)) : films;
  }

  finish() {
    this.loading = false;
    this.grid.removeAttribute("aria-busy");
    this.more.hidden = !this.next;
    const none = this.genre ? empty(W.noGenre(this.genre), W.noGenreHint) : empty(W.none(this.query), W.noneHint);
    this.message.replaceChildren(...(this.fits().length ? [] : [none]));
  }

  fail(error) {
    this.loading = false;
    this.grid.removeAttribute("aria-busy");
    this.more.hidden = true;
    if (this.fresh) this.grid.replaceChildren();
    const retry = button(words.retry, () => this.load(), "primary");
    const search = error.status === 400 && this.query;
    this.message.replaceChildren(search ? empty(W.noSearch, W.noSearchHint)
      : error.away && error.status ? empty(W.outage, W.outageHint, retry) : empty(words.failed, error.message, retry));
  }

  showChips() {
    const known = [...this.chips.children].map((chip) => chip.dataset.name);
    for (const name of ["", ...this.genres].filter((each) => !known.includes(each))) {
      const chip = button(name || W.all, () => this.start(this.query, name), "chip", { "data-name": name });
      this.chips.insertBefore(chip, [...this.chips.children].find((each) => each.dataset.name > name) ?? null);
    }
    for (const chip of this.chips.children) chip.setAttribute("aria-pressed", String(this.genre === chip.dataset.name));
  }
}
