/** Choices that several views share: the languages, and whether to analyse. */

import { $ } from "./dom.js";

const names = new Intl.DisplayNames(["en"], { type: "language" });

/** A language's English name. */
export function languageName(code) {
  try {
    return names.of(code) ?? code;
  } catch {
    return code; // not a code
  }
}

/** Options for languages, by name. */
export function languageOptions(codes) {
  return codes.map((code) => new Option(languageName(code), code)).sort((a, b) => a.text.localeCompare(b.text));
}

/** A checkbox that this browser remembers. It can be used only while an analyzer is running. */
export class AnalyseChoice {
  constructor(id) {
    this.input = $(id);
    this.key = `parlando.${id}`;
    this.available = false;
    this.input.disabled = true;
    this.input.addEventListener("change", () => localStorage.setItem(this.key, this.input.checked ? "1" : ""));
  }

  get chosen() {
    return this.input.checked && this.available;
  }

  /** `analyzers`: of the cluster's state. */
  update({ analyzers = [] }) {
    this.available = analyzers.length > 0;
    this.input.disabled = !this.available;
    this.input.checked = this.available && Boolean(localStorage.getItem(this.key));
    this.input.closest("label").title = this.available ? "" : "No analyzer is running";
  }
}
