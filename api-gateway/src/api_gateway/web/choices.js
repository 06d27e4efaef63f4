/** Choices that several views share: the languages, whether to analyse, and whether to label speakers. */

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

const MOST_SPEAKERS = 32;

/** A checkbox that this browser remembers, and the number of speakers. */
export class SpeakersChoice {
  /** `view`: the beginning of the elements' ids. */
  constructor(view) {
    this.input = $(`${view}-diarize`);
    this.count = $(`${view}-speaker-count`);
    const numbers = Array.from({ length: MOST_SPEAKERS }, (_, n) => new Option(n + 1, n + 1));
    this.count.replaceChildren(new Option("Automatic", ""), ...numbers);
    const key = `parlando.${view}-diarize`;
    this.input.checked = Boolean(localStorage.getItem(key));
    this.input.addEventListener("change", () => {
      localStorage.setItem(key, this.input.checked ? "1" : "");
      this.showCount();
    });
    this.showCount();
  }

  /** The options of a session or job. */
  get fields() {
    if (!this.input.checked) return {};
    return { diarize: true, ...(this.count.value ? { speaker_count: Number(this.count.value) } : {}) };
  }

  disable(disabled) {
    this.input.disabled = this.count.disabled = disabled;
  }

  showCount() {
    this.count.closest("label").hidden = !this.input.checked;
  }
}
