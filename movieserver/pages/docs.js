// Reads /openapi.json and lets a person try every call in it. Tokens stay in the memory of this page.

const session = { name: "", access: "", refresh: "", expires: 0 };
const LONGEST_SHOWN = 200_000;
const at = (id) => document.getElementById(id);
let api;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== ""));
  return made;
}

// What OpenAPI calls CommonMark, as far as the descriptions use it: paragraphs, code, strong words.
function prose(text = "") {
  const paragraphs = text.split(/\n\s*\n/).filter((paragraph) => paragraph.trim());
  return paragraphs.map((paragraph) => element("p", {}, inline(paragraph)));
}

function inline(text = "") {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return element("code", {}, part.slice(1, -1));
    return part.startsWith("**") ? element("strong", {}, part.slice(2, -2)) : part;
  });
}

// --- what the document says

function resolve(thing) {
  if (!thing?.$ref) return thing ?? {};
  const { $ref, ...beside } = thing;
  const steps = $ref.slice(2).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return { ...resolve(steps.reduce((place, step) => place?.[step], api)), ...beside };
}

function kind(given) {
  const schema = resolve(given);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return [...new Set(either.map(kind))].join(" or ");
  if (schema.allOf) return kind(schema.allOf[0]);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const type = [schema.type ?? "any value"].flat().join(" or ");
  if (type === "array") return `list of ${kind(schema.items)}`;
  return schema.format ? `${type} (${schema.format})` : type;
}

function bounds(given) {
  const schema = resolve(given);
  const range = (least, most, unit) => {
    if (least === undefined && most === undefined) return [];
    if (most === undefined) return [`at least ${least}${unit}`];
    return [least === undefined ? `at most ${most}${unit}` : `${least} to ${most}${unit}`];
  };
  return [
    ...range(schema.minLength, schema.maxLength, " characters"),
    ...range(schema.minItems, schema.maxItems, " items"),
    ...range(schema.minimum, schema.maximum, ""),
    ...(schema.default === undefined ? [] : [`${JSON.stringify(schema.default)} if absent`]),
  ].join(", ");
}

function fields(given, depth = 0) {
  const schema = resolve(given);
  if (depth > 4) return [];
  if (schema.type === "array") return fields(schema.items, depth);
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  const rows = Object.entries(schema.properties ?? {}).map(([name, value]) => element("li", {},
    element("code", {}, name), " ",
    element("span", { class: "kind" }, kind(value)), " ",
    schema.required?.includes(name) ? element("span", { class: "required" }, "required") : "",
    element("small", {}, [bounds(value), resolve(value).description].filter(Boolean).join(" · ")),
    fields(value, depth + 1)));
  return [...(rows.length ? [element("ul", { class: "fields" }, rows)] : []),
    ...inner.flatMap((each) => fields(each, depth + 1))];
}

const SAMPLES = {
  "uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "date-time": "2026-01-31T18:30:00.123456+00:00",
  "string": "text", "integer": 1, "number": 1, "boolean": true,
};

function sample(given, depth = 0) {
  const schema = resolve(given);
  const said = schema.example ?? schema.examples?.[0] ?? schema.default ?? schema.const ?? schema.enum?.[0];
  if (said !== undefined || depth > 6) return said ?? null;
  const inner = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (inner) return sample(inner[0], depth + 1);
  if (schema.type === "array") return [sample(schema.items, depth + 1)];
  if (schema.type !== "object") return SAMPLES[schema.format] ?? SAMPLES[schema.type] ?? null;
  return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([k, v]) => [k, sample(v, depth + 1)]));
}

function examples(media) {
  const named = Object.entries(media.examples ?? {}).map(([name, given]) => {
    const example = resolve(given);
    return [example.summary ?? name, example.value];
  });
  return named.length ? named : [["Example", media.example ?? sample(media.schema)]];
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// --- who is signed in

function signIn(name, tokens) {
  Object.assign(session, {
    name, access: tokens.access_token, refresh: tokens.refresh_token ?? "",
    expires: Date.now() + 1000 * (tokens.expires_in ?? Infinity),
  });
  at("name").textContent = name;
  const signed = Boolean(session.access);
  for (const id of ["sign-in", "own-token"]) at(id).hidden = signed;
  at("signed-in").hidden = !signed;
  document.body.classList.toggle("signed", signed);
}

function say(text, wrong = false) {
  at("said").textContent = text;
  at("said").classList.toggle("bad", wrong);
}

function signOut(said, wrong) {
  signIn("", { access_token: "" });
  say(said, wrong);
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit",
  });
  const said = await answer.json();
  if (answer.ok) return said;
  throw new Error([said.detail, ...(said.errors ?? []).map((error) => `${error.pointer}: ${error.detail}`)].join(" "));
}

async function accessToken() {
  if (session.refresh && Date.now() > session.expires - 5000) {
    try {
      signIn(session.name, await post("/refresh/", { refresh_token: session.refresh }));
    } catch {
      signOut("Your login has ended. Log in again.", true);
    }
  }
  return session.access;
}

async function enter(event) {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(event.target));
  say("");
  try {
    signIn(username, await post(event.submitter?.value ?? "/login/", { username, password }));
    event.target.reset();
    at("sign-out").focus();
  } catch (error) {
    say(error.message, true);
  }
}

async function leave() {
  const refresh = session.refresh;
  signOut("Logged out.");
  if (refresh) await post("/logout/", { refresh_token: refresh }).catch((error) => say(error.message, true));
  at("sign-in").elements.username.focus();
}

// --- one call

function request(form, path, method) {
  const headers = {}, query = new URLSearchParams();
  let body, address = path;
  for (const control of form.querySelectorAll("[data-in]")) {
    const { in: place, name } = control.dataset, value = control.value;
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && place === "query") query.append(name, value);
    else if (value && place === "header") headers[name] = value;
    else if (value.trim() && place === "body") {
      body = value;
      headers["Content-Type"] = name;
    }
  }
  return { method, headers, body, address: query.size ? `${address}?${query}` : address };
}

function asCurl({ method, headers, body, address }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(headers).map(([name, value]) =>
    `-H ${name === "Authorization" ? '"Authorization: Bearer $ACCESS"' : quoted(`${name}: ${value}`)}`);
  return [`curl -X ${method} ${quoted(location.origin + address)}`, ...lines, ...(body ? [`-d ${quoted(body)}`] : [])]
    .join(" \\\n  ");
}

async function send(event, path, method, protectedCall) {
  event.preventDefault();
  const form = event.target, button = form.querySelector("button"), shown = form.nextElementSibling;
  const asked = request(form, path, method);
  button.disabled = true;
  try {
    const token = protectedCall && await accessToken();
    if (token) asked.headers.Authorization = `Bearer ${token}`;
    const begin = performance.now();
    const answer = await fetch(asked.address, { ...asked, cache: "no-store", credentials: "omit" });
    const text = await answer.text();
    show(shown, asked, answer, text, Math.round(performance.now() - begin));
    learn(asked, answer, text);
  } catch (error) {
    shown.replaceChildren(element("p", { class: "status bad" }, `No answer: ${error.message}`));
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function show(place, asked, answer, text, milliseconds) {
  const json = answer.headers.get("Content-Type")?.includes("json") && text;
  const body = json ? pretty(JSON.parse(text)) : text;
  place.replaceChildren(
    element("p", { class: `status ${answer.status < 400 ? "good" : "bad"}` },
      element("strong", {}, `${answer.status} ${answer.statusText}`), ` in ${milliseconds} ms`),
    body ? element("pre", { class: "body", tabindex: 0, "aria-label": "Body of the answer" },
      body.length > LONGEST_SHOWN ? `${body.slice(0, LONGEST_SHOWN)}\n… ${body.length} characters in all` : body) : "",
    element("details", { open: true }, element("summary", {}, "Headers"), element("pre", { class: "headers" },
      [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n"))),
    element("details", {}, element("summary", {}, "As curl"), element("pre", { class: "curl" }, asCurl(asked))));
}

// Tokens sign in; a uuid that is new goes into the fields that ask for one by that name.
function learn(asked, answer, text) {
  if (!answer.ok || !text.startsWith("{")) return;
  const said = JSON.parse(text);
  if (said.access_token) signIn(JSON.parse(asked.body).username ?? session.name, said);
  for (const [name, value] of Object.entries(said).filter(([, each]) => typeof each === "string")) {
    for (const control of document.querySelectorAll(`[data-in=path][data-name=${CSS.escape(name)}]`)) control.value = value;
  }
}

// --- the page

let fieldsMade = 0;

function labelled(control, name, about, required) {
  control.id = `field-${++fieldsMade}`;
  control.setAttribute("aria-describedby", `${control.id}-about`);
  return element("div", { class: "field" },
    element("label", { for: control.id }, element("code", {}, name), " ",
      required ? element("span", { class: "required" }, "required") : ""),
    control, element("small", { id: `${control.id}-about` }, inline(about)));
}

function parameterField(parameter) {
  const { name, in: place, required } = parameter, schema = resolve(parameter.schema);
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : undefined);
  const shown = { "data-in": place, "data-name": name, required, autocomplete: "off", spellcheck: "false" };
  const control = choices
    ? element("select", shown, ["", ...choices].map((choice) => element("option", { value: choice }, String(choice))))
    : element("input", { ...shown, placeholder: schema.default ?? parameter.example ?? schema.examples?.[0] });
  const about = [`${place}, ${kind(schema)}`, bounds(schema), parameter.description].filter(Boolean).join(" · ");
  return labelled(control, name, about, required);
}

function bodyFields(given) {
  const body = resolve(given), [type, media] = Object.entries(body.content)[0], choices = examples(media);
  const lines = (value) => Math.min(18, pretty(value).split("\n").length + 1);
  const text = element("textarea", { "data-in": "body", "data-name": type, spellcheck: "false", required: body.required,
    rows: lines(choices[0][1]) });
  if (body.required) text.value = pretty(choices[0][1]);
  else text.placeholder = pretty(choices[0][1]);
  const choice = element("select", { change: () => {
    text.value = pretty(choices[choice.value][1]);
    text.rows = lines(text.value);
  } }, choices.map(([name], place) => element("option", { value: place }, name)));
  const inside = fields(media.schema);
  return [
    choices.length > 1 ? labelled(choice, "example", "") : "",
    labelled(text, "body", [type, body.description].filter(Boolean).join(" · "), body.required),
    inside.length ? element("details", {}, element("summary", {}, "What may stand in it"), inside) : "",
  ];
}

function answers(operation) {
  return element("details", { class: "answers" }, element("summary", {}, "What it may answer"),
    Object.entries(operation.responses ?? {}).map(([status, given]) => {
      const answer = resolve(given), [type, media] = Object.entries(answer.content ?? {})[0] ?? [];
      return element("div", { class: "answer" },
        element("p", {}, element("strong", { class: status < "400" ? "good" : "bad" }, status), " ",
          inline(answer.description), type ? element("small", {}, ` ${type}`) : ""),
        Object.keys(answer.headers ?? {}).length
          ? element("p", {}, element("small", {}, `Headers: ${Object.keys(answer.headers).join(", ")}`)) : "",
        media ? examples(media).map(([, example]) => element("pre", {}, pretty(example))) : "");
    }));
}

function call(path, method, operation, parameters) {
  const verb = method.toUpperCase(), id = `${verb}${path}`;
  const needed = operation.security ?? api.security ?? [], mayCarry = needed.some((each) => Object.keys(each).length);
  const must = mayCarry && needed.every((each) => Object.keys(each).length);
  const steps = path.split(/(?<=.\/)/).flatMap((step) => [step, element("wbr")]);
  const headers = parameters.filter((each) => each.in === "header").map(parameterField);
  const form = element("form", { submit: (event) => send(event, path, verb, mayCarry) },
    parameters.filter((each) => each.in !== "header").map(parameterField),
    headers.length ? element("details", {}, element("summary", {}, "Headers it understands"), headers) : "",
    operation.requestBody ? bodyFields(operation.requestBody) : "",
    element("p", { class: "try" }, element("button", { "aria-label": `Try it: ${verb} ${path}` }, "Try it"),
      must ? element("small", { class: "hint" }, "This call needs a token: log in at the top first.") : ""));
  return element("details", { class: "call", id, "data-words": `${id} ${verb} ${operation.summary ?? ""}`.toLowerCase() },
    element("summary", {}, element("span", { class: `verb ${method}` }, verb), " ", element("code", {}, steps), " ",
      element("span", { class: "summary" }, operation.summary ?? ""),
      must ? element("span", { class: "lock", title: "needs a token" }, "token") : ""),
    element("div", { class: "inside" }, prose(operation.description), form,
      element("section", { class: "shown", "aria-live": "polite", "aria-label": `Answer of ${verb} ${path}` }),
      answers(operation)));
}

const VERBS = ["get", "post", "put", "patch", "delete"];

function render() {
  document.title = api.info.title;
  at("version").textContent = api.info.version;
  at("about").append(...prose(api.info.description));
  const groups = new Map((api.tags ?? []).map((tag) => [tag.name, { about: tag.description, calls: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of VERBS.filter((verb) => verb in item)) {
      const operation = item[method], [tag = "Other calls"] = operation.tags ?? [];
      if (!groups.has(tag)) groups.set(tag, { calls: [] });
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
      groups.get(tag).calls.push(call(path, method, operation, parameters));
    }
  }
  for (const [tag, { about, calls }] of [...groups].filter(([, group]) => group.calls.length)) {
    at("calls").append(element("section", { class: "group" }, element("h2", {}, tag), prose(about), calls));
    document.querySelector("nav").append(element("h2", {}, tag), element("ul", {}, calls.map(({ id, firstChild }) =>
      element("li", {}, element("a", { href: `#${encodeURI(id)}` },
        [...firstChild.children].slice(0, 2).map((part) => part.cloneNode(true)))))));
  }
}

function find() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const each of document.querySelectorAll(".call")) {
    each.hidden = !words.every((word) => each.dataset.words.includes(word));
  }
  for (const group of document.querySelectorAll(".group")) group.hidden = !group.querySelector(".call:not([hidden])");
}

function openNamed() {
  const named = at(decodeURI(location.hash.slice(1)));
  if (!named?.matches(".call")) return;
  named.open = true;
  named.scrollIntoView();
  named.firstChild.focus();
}

async function begin() {
  at("sign-in").addEventListener("submit", enter);
  at("authorise").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn("the holder of this token", { access_token: event.target.elements.token.value.trim() });
    event.target.reset();
  });
  at("sign-out").addEventListener("click", leave);
  at("find").addEventListener("input", find);
  window.addEventListener("hashchange", openNamed);
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    api = await answer.json();
    render();
    at("loading").remove();
    openNamed();
  } catch (error) {
    at("loading").textContent = `/openapi.json cannot be shown: ${error.message}`;
  }
}

begin();
