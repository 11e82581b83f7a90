// Makes elements. Nothing here or elsewhere takes HTML from a text.

const SVG = "http://www.w3.org/2000/svg";

// h("a", { href, class, click: listener, "--hue": 20 }, children…); false, null and undefined are left out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "value") made.value = value;
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  return made;
}

// A labelled field: label(text, control, hint).
export function label(text, control, hint) {
  return h("label", { class: "field" }, h("span", {}, text), control, hint && h("small", {}, hint));
}

export function button(text, click, kind = "", attributes = {}) {
  return h("button", { type: "button", class: `button ${kind}`, click, ...attributes }, text);
}

export function options(pairs, chosen) {
  return pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
}

// What stands where there is nothing to show: it says what to do.
export function empty(title, text, ...actions) {
  return h("section", { class: "empty" }, h("h2", {}, title), h("p", {}, text), h("p", { class: "actions" }, actions));
}

// Calls `show` while the element is near the visible part of the page, until the signal aborts.
export function whenNear(element, show, signal) {
  const observer = new IntersectionObserver(async ([seen]) => {
    if (!seen.isIntersecting) return;
    await show();
    observer.unobserve(element);
    if (!signal.aborted) observer.observe(element);
  }, { rootMargin: "600px" });
  observer.observe(element);
  signal.addEventListener("abort", () => observer.disconnect());
}

// Runs a form's action with the button disabled; what is wrong is shown and read out below the fields.
export function onSubmit(form, action) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  form.querySelector("[type=submit], button:not([type=button])").before(wrong);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const submit = event.submitter ?? form.querySelector("button:not([type=button])");
    wrong.textContent = "";
    submit.disabled = true;
    try {
      await action(Object.fromEntries(new FormData(form)), form);
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}
