/** Small helpers for all pages. Text is always inserted as text nodes, never as markup. */

/** The address of the gateway, without a slash at its end; it may have a path. */
export const GATEWAY = new URL("..", import.meta.url).href.replace(/\/$/, "");

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; strings become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { dataset = {}, ...rest } = properties;
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(rest)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** An SVG element with attributes. */
export function shape(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** One of the symbols of the page's sprite. */
export function icon(name) {
  const element = shape("svg", { class: "icon", "aria-hidden": "true" });
  element.append(shape("use", { href: `#icon-${name}` }));
  return element;
}

/** 75.4 → "1:15". */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(hours ? 2 : 1, "0");
  return `${hours ? `${hours}:` : ""}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

/** Show a notice; an empty text hides it. `kind`: "", "warn" or "bad". */
export function showNotice(element, text, kind = "") {
  element.hidden = !text;
  element.textContent = text;
  element.dataset.kind = kind;
}

/** Download a text as a file. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A file name that every file system accepts. */
export function fileName(title, ending) {
  const safe = title.replace(/[^\p{L}\p{N} ._-]+/gu, " ").trim().slice(0, 80) || "transcript";
  return `${safe}.${ending}`;
}

export function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** The text of an error for users, with what to do. */
export function explain(error) {
  if (error?.name === "NotAllowedError") {
    return "The browser blocked access. Allow the microphone for this page (at the left of its address), then try again.";
  }
  if (error?.name === "NotFoundError") return "No microphone was found. Connect one, then try again.";
  if (error?.name === "NotReadableError") return "Another program is using the microphone. Close it, then try again.";
  if (error instanceof TypeError) return "The server can't be reached. Check your connection, then try again.";
  return error?.message ?? String(error);
}
