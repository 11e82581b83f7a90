// A film as a poster: its own picture if it may be loaded, otherwise one drawn from title, year and genres.
import { h, svg } from "./dom.js";
import { genresOf } from "./store.js";
const hosts = document.querySelector("meta[name=poster-hosts]").content.split(" ").filter(Boolean);

export function poster(movie) {
  const drawn = draw(movie);
  if (!URL.canParse(movie.poster ?? "") || !hosts.includes(new URL(movie.poster).host)) return drawn;
  const image = h("img", { src: movie.poster, alt: "", loading: "lazy", class: "poster" });
  image.addEventListener("error", () => image.replaceWith(drawn));
  return image;
}

// The same title gives the same numbers, so a film looks the same everywhere.
function numbers(text) {
  let state = 2166136261;
  for (const character of text) state = Math.imul(state ^ character.codePointAt(0), 16777619);
  return (limit) => {
    state = Math.imul(state ^ (state >>> 15), 2246822507) + 0x9e3779b9 | 0;
    return (state >>> 8) % limit;
  };
}

function draw(movie) {
  const random = numbers(movie.title), genres = genresOf(movie);
  const longest = Math.max(...movie.title.split(/[\s-]+/).map((word) => word.length));
  const size = Math.min(17, 112 / Math.max(longest, 5), 62 / Math.sqrt(movie.title.length)); // all words fit
  const colors = { "--hue": random(360), "--turn": [35, 70, 150, 190][random(4)] };
  return h("div", { class: "poster drawn", "aria-hidden": "true", ...colors, "--size": `${size}cqw` },
    svg("svg", { viewBox: "0 0 200 300", preserveAspectRatio: "xMidYMid slice" }, pattern(genres, random)),
    h("div", { class: "lettering" }, h("b", {}, movie.title),
      h("span", {}, [movie.year, ...genres.slice(0, 2)].filter(Boolean).join(" · "))));
}

const circle = (cx, cy, r, kind) => svg("circle", { cx, cy, r, class: kind });
const path = (d, kind) => svg("path", { d, class: kind });
const times = (count, make) => Array.from({ length: count }, (_, index) => make(index));

// A few simple shapes for each kind of film.
const PATTERNS = {
  space: (random) => [circle(60 + random(80), 110 + random(30), 52, "a"), times(26, () => circle(random(200), random(220), 0.6 + random(3) / 2, "light")),
    svg("ellipse", { cx: 100, cy: 128, rx: 96, ry: 22, class: "ring", transform: `rotate(${random(50) - 25} 100 128)` })],
  blinds: (random) => [times(13, (index) => svg("rect", { x: 0, y: 12 + index * 17, width: 200, height: 4 + random(8), class: index % 3 ? "b" : "a" })),
    circle(110 + random(50), 100, 40, "light")],
  hills: (random) => [circle(50 + random(100), 90 + random(20), 34, "light"),
    times(3, (index) => path(`M0 ${170 + index * 34} Q ${40 + random(60)} ${95 + index * 40} 110 ${165 + index * 30}
      T 200 ${150 + index * 36} V300 H0Z`, "abc"[index]))],
  rings: (random) => times(7, (index) => circle(80 + random(6) * 8, 120, 118 - index * 17, index % 2 ? "b" : "a")),
  hearts: (random) => [circle(74, 115, 54, "a"), circle(126, 115 + random(20), 54, "light mix"), path("M0 230 Q 100 180 200 230 V300 H0Z", "b")],
  dots: (random) => times(6, (row) => times(5, (column) => circle(20 + column * 40, 22 + row * 40, 6 + random(13), "abc"[random(3)]))),
  teeth: (random) => [circle(100, 100, 62, "a"), times(7, (index) => path(`M${index * 32 - 12} 0 l16 ${70 + random(110)} l16 ${-70 - random(70)}Z`, "c"))],
  rays: (random) => [times(12, (index) => svg("path", { d: "M100 190 L420 190 L409 272Z", transform: `rotate(${30 * index} 100 190)`,
    class: "ab"[random(2)] })), circle(100, 190, 46, "light")],
  stage: (random) => [path(`M0 0 H${70 + random(20)} Q 60 150 20 300 H0Z`, "a"),
    path(`M200 0 H${120 + random(20)} Q 140 150 180 300 H200Z`, "a"),
    circle(100, 124, 40, "light"), path("M0 240 Q 100 214 200 240 V300 H0Z", "b")],
};
const OF_GENRE = {
  "science fiction": "space", fantasy: "space", adventure: "hills", western: "hills", family: "hills", history: "rays", war: "rays", action: "rays",
  crime: "blinds", thriller: "blinds", mystery: "rings", romance: "hearts", comedy: "dots", animation: "dots", music: "dots", horror: "teeth", drama: "stage",
};

function pattern(genres, random) {
  const fitting = genres.map((name) => OF_GENRE[name.toLowerCase()]).filter(Boolean);
  const kinds = fitting.length ? fitting : Object.keys(PATTERNS);
  return PATTERNS[kinds[random(kinds.length)]](random);
}

// Poster, title and year; `action` is the button that covers the card.
export function card(movie, action) {
  return h("li", { class: "card" }, poster(movie), h("h3", {}, movie.title), h("p", {}, movie.year ?? ""), action);
}
