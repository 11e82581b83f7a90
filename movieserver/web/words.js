// Every word that the page shows.

const many = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;
const films = (number) => many(number, "film", "films");
const date = (moment) => new Date(moment).toLocaleDateString("en", { dateStyle: "long" });
const time = (moment) => new Date(moment).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

export default {
  name: "movieserver", films, date,
  nav: {
    label: "Main", movies: "Movies", collections: "Collections", genres: "Genres", transfer: "Import",
    account: "Account", skip: "Skip to the content", docs: "API reference",
  },
  close: "Close", copy: "Copy", copied: "Copied", undo: "Undo", more: "Show more", loading: "Loading…", retry: "Try again", saved: "Saved",
  offline: "You are offline, or the server does not respond. What you type is kept here and saved once it is back.",
  offlineError: "The server does not respond. Check your connection.",
  trouble: "Something went wrong on the server. Try again in a moment.", failed: "This could not be loaded",
  unsaved: "Not saved yet. It will be saved when the connection is back.",
  expired: "Your session has ended. Sign in again; nothing you typed is lost.",
  notFound: { title: "There is nothing here", text: "The page may have moved, or the link is incomplete.", go: "Go to the movies" },
  enter: {
    slogan: "The films you love, in lists you will keep.",
    points: ["Find films and collect them", "Put them in order, add notes", "Share a list by link, take everything along"],
    in: "Sign in", up: "Create account", user: "User name", password: "Password",
    rule: "At least 8 characters", stay: "Stay signed in on this device", toUp: "New here? Create an account", toIn: "You have an account? Sign in",
    closed: "Nobody can register on this server. Ask its operator for an account.", show: "Show password",
  },
  movies: {
    title: "Movies", search: "Search films", all: "All genres", filter: "Filter by genre",
    add: (name) => `Add ${name} to a collection`, addTo: "Add to…",
    found: (number) => `${films(number)} found`,
    none: (query) => `No film found for “${query}”`, noneHint: "Check the spelling, or search for a single word.",
    noGenre: (genre) => `No ${genre} among the films so far`, noGenreHint: "Show more films, or choose another genre.",
    noSearch: "This list of films cannot be searched", noSearchHint: "Clear the search field and browse instead.",
    outage: "The list of films does not respond right now",
    outageHint: "It comes from another service, which fails at times. Your collections are not affected.",
  },
  add: {
    title: "Add to…", none: "You have no collections yet. Name your first one:", fresh: "New collection",
    create: "Create and add", added: (title) => `Added to “${title}”`, removed: (title) => `Removed from “${title}”`,
    choose: "Your collections", imdb: "IMDb", tmdb: "TMDB",
  },
  lists: {
    title: "Collections", fresh: "New collection", name: "Title", about: "Description (optional)", create: "Create collection",
    empty: "Your first collection starts here", emptyHint: "Make one for an evening, a director, a mood. Then add films to it.",
    shared: "Shared", bring: "Import from Letterboxd, IMDb or Trakt",
  },
  list: {
    rename: "Title", about: "Description", noAbout: "Add a description", empty: "No films in here yet",
    emptyHint: "Search for films and choose “Add to…” on the ones you like.", find: "Find films",
    updated: (moment) => `changed on ${new Date(moment).toLocaleDateString("en", { day: "numeric", month: "long" })}`,
    move: (name) => `Move ${name}`,
    moveHint: "Drag to move. With the keyboard: arrow keys, Home, End.",
    moved: (name, place, all) => `${name} is now ${place} of ${all}`,
    remove: (name) => `Remove ${name}`, removed: (name) => `Removed ${name}`,
    note: (name) => `Note on ${name}`, addNote: "Add a note", select: "Select", done: "Done",
    selected: (number) => `${films(number)} selected`, check: (name) => `Select ${name}`, checkAll: "Select all",
    removeSelected: "Remove", copySelected: "Copy to…", share: "Share", delete: "Delete", csv: "CSV", json: "JSON",
    deleted: (title) => `Deleted “${title}”`, gone: "This collection has been deleted", goneHint: "In another window, perhaps.",
    back: "All collections", actions: "Actions", export: "Download as",
  },
  conflict: {
    title: "Changed somewhere else", text: "This was changed in another window since you saw it. Which one should stay?",
    mine: "Yours", theirs: "The other one", keepMine: "Keep mine", keepTheirs: "Keep the other", blank: "(empty)",
    open: "Not saved: it was changed in another window too.",
  },
  genres: {
    title: "Genres", chart: "Your genres", decades: "Decades", favourite: "favourite",
    empty: "No genres yet", emptyHint: "Add films to a collection; then you see here what you like.",
    bar: (name, times) => `${name}: ${times}`, clear: "Show all", decade: (year) => `${year}s`,
    shown: (number, genre, decade) => [films(number), genre && `in ${genre}`, decade && `from the ${decade}s`]
      .filter(Boolean).join(" "),
    noDecades: "None of your films has a year.",
  },
  share: {
    title: "Share", intro: "Everybody with the link can see the title, the description and the films. Notes stay with you.",
    ends: "The link ends", never: "never", days: (number) => `after ${number} days`, make: "Make a link",
    link: "Link", open: "Open", end: "End the link", ended: "The link no longer works.",
    until: (moment) => `Works until ${date(moment)}.`,
  },
  shared: {
    by: "A film list", print: "Print", own: "Make your own list", gone: "This link does not work",
    goneHint: "It has ended, or a part of it is missing. Ask for a new one.", empty: "There are no films in this list yet.",
  },
  transfer: {
    title: "Import & export", import: "Bring your lists", drop: "Drop a file here, or choose one",
    kinds: "CSV of Letterboxd, IMDb or Trakt, or an export of this service", into: "Add to", fresh: "a new collection",
    start: "Import this file", other: "Choose another file", rows: (number) => `${films(number)} in this file`, rest: (number) => `and ${number} more`,
    known: { letterboxd: "A list of Letterboxd", imdb: "A list of IMDb", trakt: "A list of Trakt", own: "An export of this service", csv: "A CSV file" },
    sending: "Importing…", done: "Import finished", progress: "Progress of the import",
    result: (added, existing, skipped) => `${films(added)} added, ${existing} already there, ${skipped} left out`,
    errors: "Lines that could not be read", line: "Line", reason: "Reason", open: "Open the collection", look: "See your collections",
    export: "Take everything along", exportText: "All your collections in one file, which can be imported again here.",
    download: "Download all collections", tooLarge: "This file is too large: at most 8 MB.",
    unreadable: "This file cannot be read as a list of films.",
  },
  account: {
    title: "Account", signedIn: (name) => `Signed in as ${name}`, out: "Sign out", everywhere: "Sign out everywhere",
    sessions: "Where you are signed in", current: "this one", since: (moment) => `since ${time(moment)}`,
    end: "End", endLogin: (moment) => `End the login of ${time(moment)}`, password: "Change password", old: "Current password", new: "New password",
    change: "Change password", changed: "Your password is changed. Your other logins have ended.",
    delete: "Delete account", deleteText: "All of your collections are deleted with it, and nobody can restore them.",
    type: (name) => `Type “${name}” to confirm`, deleteNow: "Delete my account", deleted: "Your account is deleted.",
  },
  tokens: {
    title: "Personal tokens", text: "For scripts of yours, which cannot sign in.", name: "What is it for?",
    scope: "It may", read: "only read", write: "read and write", expires: "It ends", never: "never", days: (number) => `after ${number} days`,
    make: "Make a token", once: "Copy it now: it is not shown again.", value: "Token",
    used: (day) => (day ? `last used ${day}` : "not used yet"), end: (name) => `End the token ${name}`, none: "You have no tokens.",
  },
};
