/** Small helpers that all pages use. Text always goes in as text, never as markup. */

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

/** 75.4 → "1:15". */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(hours ? 2 : 1, "0");
  return `${hours ? `${hours}:` : ""}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

/** Show a notice: kind "", "warn" or "bad"; no text hides it. */
export function tell(element, text, kind = "") {
  element.hidden = !text;
  element.textContent = text;
  element.dataset.kind = kind;
}

/** Give the user a file. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A name that every file system takes. */
export function fileName(title, ending) {
  const safe = title.replace(/[^\p{L}\p{N} ._-]+/gu, " ").trim().slice(0, 80) || "transcript";
  return `${safe}.${ending}`;
}

export function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** What went wrong, in words for people. */
export function explain(error) {
  if (error?.name === "NotAllowedError") return "The browser didn't allow it. Allow the microphone for this page.";
  if (error?.name === "NotFoundError") return "No microphone was found.";
  if (error?.name === "NotReadableError") return "The microphone is in use by something else.";
  if (error instanceof TypeError) return "The cluster can't be reached.";
  return error?.message ?? String(error);
}
