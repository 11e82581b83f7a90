// Make, copy and end the link of a collection.
import { call } from "./api.js";
import { copyField, dialog } from "./dialog.js";
import { button, h, label, onSubmit, options } from "./dom.js";
import words from "./words.js";
const W = words.share;

export function shareDialog(uuid) {
  const path = `collection/${uuid}/share/`, body = h("div", {}), status = h("p", { role: "status" });
  dialog(W.title, h("p", { class: "soft" }, W.intro), body, status);

  function offer() {
    const ends = h("select", { name: "days" }, options([["", W.never], ["7", W.days(7)], ["30", W.days(30)], ["365", W.days(365)]]));
    const form = h("form", {}, label(W.ends, ends), h("button", { class: "button primary" }, W.make));
    body.replaceChildren(onSubmit(form, async ({ days }) => {
      const { data } = await call("POST", path, { body: days ? { expires_in_days: Number(days) } : {} });
      status.textContent = "";
      given(data);
    }));
  }

  function given({ url, expires_at: moment }) {
    body.replaceChildren(copyField(W.link, url), moment ? h("p", { class: "soft" }, W.until(moment)) : "", h("p", { class: "actions" },
      h("a", { class: "button", href: url, target: "_blank", rel: "noreferrer" }, W.open), button(W.end, end, "danger")));
    body.querySelector("button").focus();
  }

  async function end() {
    try {
      await call("DELETE", path);
      offer();
      status.textContent = W.ended;
    } catch (error) {
      status.textContent = error.message;
    }
  }

  offer();
}
