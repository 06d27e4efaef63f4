/** The analysis of a live transcript: marked entities, topics, questions, action items, and digests. */

import { $, clock, explain, make, showNotice } from "./dom.js";
import { highlight } from "./entities.js";
import { ResultsPanel, chips, counted, sentence } from "./results.js";

export const LIVE_STEPS = "entities,topics,questions,actions";
const LISTS = ["questions", "actions"];
const MAX_ENTITIES_KEPT = 2000; // segments whose entities came before the segment was shown

export class LiveAnalysis {
  /** `transcript`: the element with the lines. */
  constructor(client, transcript, needsKey) {
    this.client = client;
    this.transcript = transcript;
    this.needsKey = needsKey;
    this.reset();
    $("live-digest").addEventListener("click", () => this.digest());
  }

  reset() {
    this.entities = new Map(); // segment → entities
    this.topics = new Map(); // segment → its best topic
    this.items = Object.fromEntries(LISTS.map((kind) => [kind, new Map()])); // kind → segment → items
    $("live-topics").replaceChildren();
    for (const kind of LISTS) this.drawList(kind);
    this.drawTopics();
  }

  /**
   * Show an annotation. There is one of each kind for a segment, so one that comes again changes nothing.
   * `offset`: seconds of audio in earlier sessions; `base`: the number of their segments.
   */
  annotated(kind, data, { offset, base }) {
    const segment = data.segment + base;
    if (kind === "entities") {
      this.entities.set(segment, data.entities);
      if (this.entities.size > MAX_ENTITIES_KEPT) this.entities.delete(this.entities.keys().next().value);
      this.mark(segment);
    } else if (kind === "topics") {
      this.topics.set(segment, data.topics[0].label);
      this.drawTopics();
    } else if (LISTS.includes(kind)) {
      this.items[kind].set(segment, data[kind].map((item) => ({ ...item, segment, start: item.start + offset })));
      this.drawList(kind);
    }
  }

  /** Mark the entities of a segment, if both have come. */
  mark(segment) {
    const entities = this.entities.get(segment);
    const line = entities && this.line(segment);
    if (line) highlight(line.lastElementChild, entities);
  }

  line(segment) {
    return this.transcript.querySelector(`[role=log] .line[data-segment="${Number(segment)}"]`);
  }

  /** Show the side list only if it has something, or is waited for. */
  show(analysing) {
    const found = this.topics.size || LISTS.some((kind) => this.items[kind].size);
    $("live-analysis").hidden = !analysing && !found;
  }

  drawTopics() {
    const counts = new Map();
    for (const label of this.topics.values()) counts.set(label, (counts.get(label) ?? 0) + 1);
    const sorted = [...counts].sort(([, a], [, b]) => b - a);
    const shown = sorted.length ? chips(sorted.map(([label, count]) => counted(label, count))) : nothing();
    $("live-topics").replaceChildren(shown);
  }

  drawList(kind) {
    const items = [...this.items[kind]].sort(([a], [b]) => a - b).flatMap(([, all]) => all);
    const rows = items.map((item) => make("li", {}, sentence(item, (start, segment) => this.goTo(segment))));
    const list = make("ul", { className: "sentences", ariaLive: "polite" }, ...rows);
    $(`live-${kind}`).replaceChildren(rows.length ? list : nothing());
  }

  goTo(segment) {
    this.line(segment)?.scrollIntoView({ block: "center" });
  }

  // --- the digest -----------------------------------------------------------------------------------

  /** The session whose digest the button shows; it stays the last one after its end. */
  set session(id) {
    this.id = id;
    $("live-digest").disabled = !id || !this.available;
  }

  async digest() {
    const dialog = $("digest");
    const notice = $("digest-notice");
    $("digest-results").replaceChildren();
    showNotice(notice, "Collecting what was said so far");
    if (!dialog.open) dialog.showModal();
    try {
      const path = `/v1/stt/sessions/${encodeURIComponent(this.id)}/digest`;
      const { segments, seconds, ...results } = await (await this.client.request(path, { method: "POST" })).json();
      const play = (start, segment) => {
        dialog.close();
        this.goTo(segment);
      };
      const panel = new ResultsPanel({ play, label: "Digest" });
      panel.update(resultsOf(results));
      $("digest-results").replaceChildren(panel.element);
      showNotice(notice, "");
      $("digest-about").textContent = `Of ${clock(seconds)} of audio, ${segments} passages.`;
    } catch (error) {
      if (!this.needsKey(error)) showNotice(notice, explain(error), "bad");
    }
  }
}

const nothing = () => make("p", { className: "small" }, "None so far.");

/** The results among the fields of a digest. */
function resultsOf(digest) {
  return Object.fromEntries(Object.entries(digest).filter(([, value]) => value && typeof value === "object"));
}
