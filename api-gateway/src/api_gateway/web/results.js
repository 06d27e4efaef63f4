/** A panel with the results of an analysis; sections appear as their results come. */

import { clock, make } from "./dom.js";
import { chip, nameOf } from "./entities.js";

const NAMES = {
  summary: "Summary",
  insights: "Insights",
  key_sentences: "Key sentences",
  topics: "Topics",
  sentiment: "Sentiment",
  language: "Language",
  keywords: "Keywords",
  entities: "Names and numbers",
  questions: "Questions",
  actions: "Action items",
  translation: "Translation",
};
const NOTHING = { topics: "None of the known topics fits.", questions: "None was asked.", actions: "None was found.", entities: "None was found." };
const MAX_ITEMS = 100; // of one section; the rest is counted
const MAX_CHIPS = 20;

const percent = (share) => `${Math.round(share * 100)} %`;
const said = (name) => NAMES[name] ?? name.replaceAll("_", " ");

export class ResultsPanel {
  /**
   * `play(start, segment)`: called when a sentence is chosen. `reasons`: whether to say why a result is missing.
   * `label`: the panel's name for screen readers.
   */
  constructor({ play, reasons = true, label = "Analysis" }) {
    this.play = play;
    this.reasons = reasons;
    this.slots = Object.fromEntries(Object.keys(NAMES).map((name) => [name, make("div", { hidden: true })]));
    this.missing = make("p", { className: "small", hidden: true });
    this.element = make("div", { className: "results", role: "group", ariaLabel: label }, ...Object.values(this.slots), this.missing);
    this.drawn = new Set();
  }

  /** Show the results that aren't shown yet. */
  update(results) {
    for (const [name, result] of Object.entries(results)) {
      const slot = this.slots[name];
      if (!slot || this.drawn.has(name) || (result.status ?? "done") !== "done") continue;
      const content = this.section(name, result);
      if (!content.length) continue;
      this.drawn.add(name);
      slot.dataset.result = name;
      slot.replaceChildren(make("h3", {}, NAMES[name]), ...content);
      slot.hidden = false;
    }
    this.element.hidden = !this.drawn.size && this.missing.hidden;
    if (this.reasons) this.explain(results);
  }

  /** Say once, for all results with the same reason, why they are missing. */
  explain(results) {
    const missing = Object.entries(results).filter(([, result]) => result.reason && result.status !== "done");
    const grouped = Map.groupBy(missing, ([, { reason }]) => reason);
    const texts = [...grouped].map(([reason, all]) => `No ${all.map(([name]) => said(name).toLowerCase()).join(", ")}: ${reason}.`);
    this.missing.textContent = texts.join(" ");
    this.missing.hidden = !texts.length;
    if (texts.length) this.element.hidden = false;
  }

  section(name, result) {
    switch (name) {
      case "summary":
        return [make("p", {}, result.summary), points((result.points ?? []).map((point) => [point]))];
      case "insights":
        return [points(result.insights.map(({ kind, text }) => [make("strong", {}, `${kind}: `), text]))];
      case "topics":
        return this.topics(result.topics.filter(({ label }) => label !== "other"));
      case "keywords":
        return [chips(result.keywords.map(({ text, count }) => counted(text, count)))];
      case "entities":
        return (result.counts ?? []).length ? [chips(result.counts.map(entityChip))] : [none(name)];
      case "sentiment":
        return [make("p", {}, sentiment(result))];
      case "language":
        return result.language ? [make("p", {}, spoken(result))] : [];
      case "translation":
        return []; // it is shown beside the transcript
      default:
        return this.sentences(name, result[name] ?? []);
    }
  }

  topics(found) {
    return found.length ? [chips(found.map(({ label, score }) => topic(label, score)))] : [none("topics")];
  }

  sentences(name, items) {
    if (!items.length) return name in NOTHING ? [none(name)] : [];
    const shown = items.slice(0, MAX_ITEMS).map((item) => [this.sentence(item)]);
    const rest = items.length - shown.length;
    return [list(shown), ...(rest ? [make("p", { className: "small" }, `and ${rest} more`)] : [])];
  }

  sentence(item) {
    return sentence(item, this.play);
  }
}

/** A sentence with its time, as a button that plays it or goes to it. */
export function sentence({ text, start, segment, speaker }, play) {
  const button = make("button", { type: "button", className: "sentence" });
  button.append(make("time", {}, clock(start)), make("span", {}, ...(speaker ? [named(speaker), ": "] : []), text));
  button.addEventListener("click", () => play(start, segment));
  return button;
}

/** A speaker's label, which `showNames` replaces by the name. */
const named = (speaker) => make("span", { dataset: { speaker } }, speaker);

/** A topic; `score`: its cosine, or nothing. */
export function topic(label, score) {
  return make("span", { className: "chip", title: score === undefined ? "" : `Score ${score.toFixed(2)}` }, label);
}

/** A text with how often it was said. */
export function counted(text, count) {
  const element = make("span", { className: "chip" }, text);
  if (count > 1) element.append(make("small", {}, ` ×${count}`));
  return element;
}

export function chips(elements) {
  const items = elements.slice(0, MAX_CHIPS).map((element) => make("li", {}, element));
  return make("ul", { className: "chips" }, ...items);
}

const list = (rows) => listOf("sentences", rows);
const points = (rows) => listOf("points", rows);

function listOf(className, rows) {
  return make("ul", { className }, ...rows.map((row) => make("li", {}, ...row)));
}

function entityChip({ text, label, count }) {
  const element = chip({ text, label });
  const name = make("span", { className: "for-readers" }, `, ${nameOf(label)}`);
  return make("span", {}, element, name, ...(count > 1 ? [make("small", {}, ` ×${count}`)] : []));
}

const none = (name) => make("p", { className: "small" }, NOTHING[name]);

function sentiment({ sentiment: found, share = {} }) {
  const parts = Object.entries(share).map(([name, part]) => `${percent(part)} ${name}`);
  return parts.length ? `${found} (${parts.join(", ")})` : found;
}

function spoken({ language, score }) {
  const name = new Intl.DisplayNames(["en"], { type: "language" }).of(language) ?? language;
  return score ? `${name} (${percent(score)})` : name;
}
