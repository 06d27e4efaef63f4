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

/** Offer these languages in a list, after "Automatic". What is chosen stays chosen. */
export function offerLanguages(list, codes) {
  const options = [new Option("Automatic", ""), ...languageOptions(codes)];
  const same = options.length === list.options.length && options.every(({ value }, n) => value === list.options[n].value);
  if (same) return; // replacing them would close an open list
  const { value } = list;
  list.replaceChildren(...options);
  list.value = codes.includes(value) ? value : "";
}

/** A checkbox that this browser remembers. It can be used only while the cluster can do what it stands for. */
class Choice {
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

  /** `why`: the hint while it isn't available, with what to do. */
  offer(available, why) {
    this.available = available;
    this.input.disabled = !available;
    this.input.checked = available && Boolean(localStorage.getItem(this.key));
    this.input.closest("label").title = available ? "" : why;
  }
}

/** Whether to analyse; an analyzer does it. */
export class AnalyseChoice extends Choice {
  /** `analyzers`: of the cluster's state. */
  update({ analyzers = [] }) {
    this.offer(analyzers.length > 0, "No analyzer is running. Start one to use this.");
  }
}

/** Whether to translate; some engines do it. */
export class TranslateChoice extends Choice {
  /** The language of the translation; empty for none. */
  get into() {
    return this.chosen ? "en" : "";
  }

  /** `pools`: of the cluster's state. */
  update({ pools = [] }) {
    const available = pools.some(({ tasks = [] }) => tasks.includes("translate"));
    this.offer(available, "No engine of this cluster translates. Start a transcriber with a Whisper model.");
  }
}

const MOST_SPEAKERS = 32;

/** A checkbox that this browser remembers, the number of speakers, and in some views whether to recognise them. */
export class SpeakersChoice {
  /** `view`: the beginning of the elements' ids. */
  constructor(view) {
    this.input = $(`${view}-diarize`);
    this.count = $(`${view}-speaker-count`);
    this.recognise = document.getElementById(`${view}-recognise`);
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
    const count = this.count.value ? { speaker_count: Number(this.count.value) } : {};
    return { diarize: true, ...count, ...(this.recognise?.checked ? { known_speakers: true } : {}) };
  }

  disable(disabled) {
    this.input.disabled = this.count.disabled = disabled;
    if (this.recognise) this.recognise.disabled = disabled;
  }

  showCount() {
    for (const each of [this.count, this.recognise]) if (each) each.closest("label").hidden = !this.input.checked;
  }
}
