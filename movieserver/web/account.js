// The account: logins, password, personal tokens, and its end.
import { call } from "./api.js";
import { copyField } from "./dialog.js";
import { button, h, label, onSubmit, options } from "./dom.js";
import { forget, read } from "./session.js";
import { toast } from "./toast.js";
import words from "./words.js";
const W = words.account;
const T = words.tokens; // personal tokens
export const title = () => W.title;

export async function show(main) {
  const { name } = read();
  const logins = h("ul", { class: "items" }), tokens = h("ul", { class: "items" });
  const soft = (text) => h("p", { class: "soft" }, text);
  const panel = (heading, ...content) => h("section", { class: "panel" }, h("h2", {}, heading), content);
  main.append(h("div", { class: "bar" }, h("div", {}, h("h1", {}, W.title), soft(W.signedIn(name))), button(W.out, signOut)),
    h("div", { class: "panels" },
      panel(W.sessions, logins, h("p", {}, button(W.everywhere, everywhere))),
      panel(W.password, passwordForm(name)),
      panel(T.title, soft(T.text), tokens, tokenForm(tokens)),
      panel(W.delete, soft(W.deleteText), deletionForm(name))));
  await Promise.all([showLogins(logins), showTokens(tokens)]);
}

async function signOut() {
  const { refresh } = read();
  forget();
  await call("POST", "logout/", { body: { refresh_token: refresh }, open: true }).catch(() => {});
}

async function everywhere() {
  await call("POST", "logout/all/");
  forget();
}

async function showLogins(list) {
  const { data } = await call("GET", "sessions/");
  const end = (uuid) => call("DELETE", `sessions/${uuid}/`).then(() => showLogins(list));
  list.replaceChildren(...data.data.map(({ uuid, created_at: moment, current }) => h("li", {},
    h("span", {}, W.since(moment), current && h("small", {}, W.current)),
    !current && button(W.end, () => end(uuid), "small", { "aria-label": W.endLogin(moment) }))));
}

function passwordForm(name) {
  const field = (text, key, kind) => label(text, h("input", {
    name: key, type: "password", required: true, autocomplete: kind, minlength: kind === "new-password" && 8 }));
  const forManagers = h("input", { // a password manager finds out whose password it is
    class: "unseen", autocomplete: "username", value: name, readonly: true, tabindex: -1, "aria-hidden": "true" });
  const form = h("form", {}, forManagers, field(W.old, "old_password", "current-password"),
    field(W.new, "new_password", "new-password"), h("button", { class: "button primary" }, W.change));
  return onSubmit(form, async (body) => {
    await call("PUT", "password/", { body });
    form.reset();
    toast(W.changed);
  });
}

async function showTokens(list) {
  const { data } = await call("GET", "tokens/");
  const end = (uuid) => call("DELETE", `tokens/${uuid}/`).then(() => showTokens(list));
  list.replaceChildren(...data.data.map(({ uuid, name, scope, last_used: day }) => h("li", {},
    h("span", {}, name, h("small", {}, `${T[scope]} · ${T.used(day)}`)), button(W.end, () => end(uuid), "small", { "aria-label": T.end(name) }))));
  if (!data.data.length) list.append(h("li", { class: "soft" }, T.none));
}

function tokenForm(list) {
  const result = h("div", { "aria-live": "polite" });
  const form = h("form", {}, label(T.name, h("input", { name: "name", required: true, maxlength: 100, autocomplete: "off" })),
    label(T.scope, h("select", { name: "scope" }, options([["read", T.read], ["write", T.write]]))),
    label(T.expires, h("select", { name: "days" }, options([["", T.never], ["30", T.days(30)], ["90", T.days(90)], ["365", T.days(365)]]))),
    h("button", { class: "button primary" }, T.make));
  onSubmit(form, async ({ name, scope, days }) => {
    const { data } = await call("POST", "tokens/", { body: { name, scope, ...(days && { expires_in_days: Number(days) }) } });
    form.reset();
    result.replaceChildren(h("p", {}, h("strong", {}, T.once)), copyField(T.value, data.token));
    await showTokens(list);
  });
  return h("div", {}, result, form);
}

function deletionForm(name) {
  const form = h("form", {}, label(W.type(name), h("input", { name: "name", required: true, autocomplete: "off", autocapitalize: "none" })),
    h("button", { class: "button danger", disabled: true }, W.deleteNow));
  form.addEventListener("input", () => { form.lastElementChild.disabled = form.elements.name.value !== name; });
  return onSubmit(form, async () => { await call("DELETE", "account/"); forget(W.deleted); });
}
