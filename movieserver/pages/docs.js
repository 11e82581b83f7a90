// Shows /openapi.json and sends any request in it. Tokens stay in the memory of this page.

const session = { name: "", access: "", refresh: "", expires: 0 };
const MAX_SHOWN = 200_000;
const PREFIX = new URL("..", import.meta.url).pathname.slice(0, -1); // of every path, behind some proxies
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

// --- the OpenAPI document

function resolve(thing) {
  if (!thing?.$ref) return thing ?? {};
  const { $ref, ...beside } = thing;
  const steps = $ref.slice(2).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return { ...resolve(steps.reduce((found, step) => found?.[step], api)), ...beside };
}

function kind(reference) {
  const schema = resolve(reference);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return [...new Set(either.map(kind))].join(" or ");
  if (schema.allOf) return kind(schema.allOf[0]);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const type = [schema.type ?? "any value"].flat().join(" or ");
  if (type === "array") return `list of ${kind(schema.items)}`;
  return schema.format ? `${type} (${schema.format})` : type;
}

function bounds(reference) {
  const schema = resolve(reference);
  const range = (min, max, unit) => {
    if (min === undefined && max === undefined) return [];
    if (max === undefined) return [`at least ${min}${unit}`];
    return [min === undefined ? `at most ${max}${unit}` : `${min} to ${max}${unit}`];
  };
  return [
    ...range(schema.minLength, schema.maxLength, " characters"),
    ...range(schema.minItems, schema.maxItems, " items"),
    ...range(schema.minimum, schema.maximum, ""),
    ...(schema.default === undefined ? [] : [`default ${JSON.stringify(schema.default)}`]),
  ].join(", ");
}

function fields(reference, depth = 0) {
  const schema = resolve(reference);
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
  "uuid": "57baf4f4-c9ef-4197-9e4f-acf04eae5b4d", "date-time": "2026-01-31T18:30:00.123456Z",
  "string": "text", "integer": 1, "number": 1, "boolean": true,
};

function sample(reference, depth = 0) {
  const schema = resolve(reference);
  const value = schema.example ?? schema.examples?.[0] ?? schema.default ?? schema.const ?? schema.enum?.[0];
  if (value !== undefined || depth > 6) return value ?? null;
  const inner = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (inner) return sample(inner[0], depth + 1);
  if (schema.type === "array") return [sample(schema.items, depth + 1)];
  if (schema.type !== "object") return SAMPLES[schema.format] ?? SAMPLES[schema.type] ?? null;
  return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([k, v]) => [k, sample(v, depth + 1)]));
}

function examples(media) {
  const named = Object.entries(media.examples ?? {}).map(([name, reference]) => {
    const example = resolve(reference);
    return [example.summary ?? name, example.value];
  });
  return named.length ? named : [["Example", media.example ?? sample(media.schema)]];
}

// JSON as elements: keys, texts, numbers and words each in a color of their own.
const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function colored(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKENS)) {
    const kind = found[2] ? "key" : found[1] ? "text" : found[3] ? "word" : "number";
    parts.push(text.slice(end, found.index), element("span", { class: kind }, found[1] ?? found[0]));
    end = found.index + (found[1] ?? found[0]).length;
  }
  return [...parts, text.slice(end)];
}

// A text with a button that copies it, also where the page is not served over https.
function copyable(text, content, attributes) {
  const shown = element("pre", { tabindex: 0, ...attributes }, content);
  const button = element("button", { type: "button", class: "quiet copy", "aria-live": "polite", click: async () => {
    getSelection().selectAllChildren(shown);
    await navigator.clipboard?.writeText(text).catch(() => {});
    if (navigator.clipboard || document.execCommand("copy")) button.textContent = "Copied";
  } }, "Copy");
  return element("div", { class: "copyable" }, shown, button);
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// --- signing in and out

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

function tell(text, wrong = false) {
  at("message").textContent = text;
  at("message").classList.toggle("bad", wrong);
}

function signOut(text, wrong) {
  signIn("", { access_token: "" });
  tell(text, wrong);
}

async function post(path, body) {
  const response = await fetch(PREFIX + path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit",
  });
  const json = await response.json();
  if (response.ok) return json;
  throw new Error([json.detail, ...(json.errors ?? []).map((error) => `${error.pointer}: ${error.detail}`)].join(" "));
}

async function accessToken() {
  if (session.refresh && Date.now() > session.expires - 5000) {
    try {
      signIn(session.name, await post("/refresh/", { refresh_token: session.refresh }));
    } catch {
      signOut("Your login has expired. Log in again.", true);
    }
  }
  return session.access;
}

async function logIn(event) {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(event.target));
  tell("");
  try {
    signIn(username, await post(event.submitter?.value ?? "/login/", { username, password }));
    event.target.reset();
    at("sign-out").focus();
  } catch (error) {
    tell(error.message, true);
  }
}

async function logOut() {
  const refresh = session.refresh;
  signOut("Logged out.");
  if (refresh) await post("/logout/", { refresh_token: refresh }).catch((error) => tell(error.message, true));
  at("sign-in").elements.username.focus();
}

// --- one operation

function readForm(form, path, method) {
  const headers = {}, query = new URLSearchParams();
  let body, address = path;
  for (const control of form.querySelectorAll("[data-in]")) {
    const { in: location, name } = control.dataset, value = control.value;
    if (location === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && location === "query") query.append(name, value);
    else if (value && location === "header") headers[name] = value;
    else if (value.trim() && location === "body") {
      body = value;
      headers["Content-Type"] = name;
    }
  }
  return { method, headers, body, address: PREFIX + (query.size ? `${address}?${query}` : address) };
}

function asCurl({ method, headers, body, address }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(headers).map(([name, value]) =>
    `-H ${name === "Authorization" ? '"Authorization: Bearer $ACCESS"' : quoted(`${name}: ${value}`)}`);
  return [`curl -X ${method} ${quoted(location.origin + address)}`, ...lines, ...(body ? [`-d ${quoted(body)}`] : [])]
    .join(" \\\n  ");
}

async function send(event, path, method, operation, takesToken) {
  event.preventDefault();
  const form = event.target, button = form.querySelector("button"), result = form.nextElementSibling;
  if (method === "DELETE" && !confirm(`${operation.summary}? This cannot be undone.`)) return;
  const request = readForm(form, path, method);
  button.disabled = true;
  try {
    const token = takesToken && await accessToken();
    if (token) request.headers.Authorization = `Bearer ${token}`;
    const start = performance.now();
    const response = await fetch(request.address, { ...request, cache: "no-store", credentials: "omit" });
    const text = await response.text();
    show(result, request, response, text, Math.round(performance.now() - start));
    learn(operation, request, response, text);
  } catch (error) {
    result.replaceChildren(element("p", { class: "status bad" }, `No response: ${error.message}`));
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function show(result, request, response, text, milliseconds) {
  const json = /[/+]json\b/.test(response.headers.get("Content-Type")) && text;
  const body = json ? pretty(JSON.parse(text)) : text;
  result.replaceChildren(
    element("p", { class: `status ${response.status < 400 ? "good" : "bad"}` },
      element("strong", {}, `${response.status} ${response.statusText}`), ` in ${milliseconds} ms`),
    body ? copyable(body, body.length > MAX_SHOWN ? `${body.slice(0, MAX_SHOWN)}\n… ${body.length} characters in all`
      : json ? colored(body) : body, { class: "body", "aria-label": "Response body" }) : "",
    element("details", { open: true }, element("summary", {}, "Response headers"), element("pre", { class: "headers" },
      [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n"))),
    element("details", {}, element("summary", {}, "As curl"), copyable(asCurl(request), asCurl(request), { class: "curl" })));
}

// Tokens sign in, the end of the account signs out, and a new uuid goes into the path fields of that name.
function learn(operation, request, response, text) {
  if (!response.ok || !text.startsWith("{")) return;
  const json = JSON.parse(text);
  if (operation.operationId === "deleteAccount") signOut("Your account is deleted.");
  if (json.access_token) signIn(JSON.parse(request.body).username ?? session.name, json);
  for (const [name, value] of Object.entries(json).filter(([, each]) => typeof each === "string")) {
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
  const { name, in: location, required } = parameter, schema = resolve(parameter.schema);
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : undefined);
  const attributes = { "data-in": location, "data-name": name, required, autocomplete: "off", spellcheck: "false" };
  const control = choices
    ? element("select", attributes, ["", ...choices].map((choice) => element("option", { value: choice }, String(choice))))
    : element("input", { ...attributes, placeholder: schema.default ?? parameter.example ?? schema.examples?.[0] });
  const about = [`${location}, ${kind(schema)}`, bounds(schema), parameter.description].filter(Boolean).join(" · ");
  return labelled(control, name, about, required);
}

function bodyFields(reference) {
  const body = resolve(reference), [type, media] = Object.entries(body.content)[0], choices = examples(media);
  const lines = (value) => Math.min(18, pretty(value).split("\n").length + 1);
  const text = element("textarea", { "data-in": "body", "data-name": type, spellcheck: "false", required: body.required,
    rows: lines(choices[0][1]) });
  if (body.required) text.value = pretty(choices[0][1]);
  else text.placeholder = pretty(choices[0][1]);
  const choice = element("select", { change: () => {
    text.value = pretty(choices[choice.value][1]);
    text.rows = lines(text.value);
  } }, choices.map(([name], index) => element("option", { value: index }, name)));
  const inside = fields(media.schema);
  return [
    choices.length > 1 ? labelled(choice, "example", "") : "",
    labelled(text, "body", [type, body.description].filter(Boolean).join(" · "), body.required),
    inside.length ? element("details", {}, element("summary", {}, "Keys of the body"), inside) : "",
  ];
}

function responses(operation) {
  return element("details", { class: "responses" }, element("summary", {}, "Possible responses"),
    Object.entries(operation.responses ?? {}).map(([status, reference]) => {
      const response = resolve(reference), [type, media] = Object.entries(response.content ?? {})[0] ?? [];
      return element("div", {},
        element("p", {}, element("strong", { class: status < "400" ? "good" : "bad" }, status), " ",
          inline(response.description), type ? element("small", {}, ` ${type}`) : ""),
        Object.keys(response.headers ?? {}).length
          ? element("p", {}, element("small", {}, `Headers: ${Object.keys(response.headers).join(", ")}`)) : "",
        media ? examples(media).map(([, example]) => element("pre", {}, colored(pretty(example)))) : "");
    }));
}

function call(path, method, operation, parameters) {
  const verb = method.toUpperCase(), id = `${verb}${path}`;
  const security = operation.security ?? api.security ?? [];
  const takesToken = security.some((each) => Object.keys(each).length);
  const needsToken = takesToken && security.every((each) => Object.keys(each).length);
  const steps = path.split(/(?<=.\/)/).flatMap((step) => [step, element("wbr")]);
  const optional = (operation["x-request-headers"] ?? []).map((name) => (
    { name, in: "header", ...api["x-request-headers"][name] }));
  const headers = [...parameters.filter((each) => each.in === "header"), ...optional].map(parameterField);
  const form = element("form", { submit: (event) => send(event, path, verb, operation, takesToken) },
    parameters.filter((each) => each.in !== "header").map(parameterField),
    headers.length ? element("details", {}, element("summary", {}, "Optional headers"), headers) : "",
    operation.requestBody ? bodyFields(operation.requestBody) : "",
    element("p", { class: "try" }, element("button", { "aria-label": `Try it: ${verb} ${path}` }, "Try it"),
      needsToken ? element("small", { class: "hint" }, "Needs a token: log in at the top first.") : ""));
  return element("details", { class: "call", id, "data-words": `${id} ${verb} ${operation.summary ?? ""}`.toLowerCase() },
    element("summary", {}, element("span", { class: `verb ${method}` }, verb), " ", element("code", {}, steps), " ",
      element("span", { class: "summary" }, operation.summary ?? ""),
      needsToken ? element("span", { class: "lock", title: "needs a token" }, "token") : ""),
    element("div", { class: "inside" }, prose(operation.description), form,
      element("section", { class: "result", "aria-live": "polite", "aria-label": `Response of ${verb} ${path}` }),
      responses(operation)));
}

const VERBS = ["get", "post", "put", "patch", "delete"];

function render() {
  document.title = api.info.title;
  at("version").textContent = api.info.version;
  at("about").append(...prose(api.info.description));
  const groups = new Map((api.tags ?? []).map((tag) => [tag.name, { about: tag.description, calls: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of VERBS.filter((verb) => verb in item)) {
      const operation = item[method], [tag = "Other operations"] = operation.tags ?? [];
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

function openLinked() {
  const linked = at(decodeURI(location.hash.slice(1)));
  if (!linked?.matches(".call")) return;
  linked.open = true;
  linked.scrollIntoView();
  linked.firstChild.focus();
}

async function start() {
  at("sign-in").addEventListener("submit", logIn);
  at("authorise").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn("the owner of this token", { access_token: event.target.elements.token.value.trim() });
    event.target.reset();
  });
  at("sign-out").addEventListener("click", logOut);
  at("find").addEventListener("input", find);
  window.addEventListener("hashchange", openLinked);
  try {
    const response = await fetch(`${PREFIX}/openapi.json`);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    api = await response.json();
    render();
    at("loading").remove();
    openLinked();
  } catch (error) {
    at("loading").textContent = `/openapi.json cannot be shown: ${error.message}`;
  }
}

start();
