/** The analysis of a live transcript: marked entities, topics, questions, action items, and digests. */

import { $, clock, explain, make, showNotice } from "./dom.js";
import { highlight } from "./entities.js";
import { ResultsPanel, chips, counted, sentence } from "./results.js";
import { showNames } from "./speakers-view.js";

export const LIVE_STEPS = "entities,topics,questions,actions";
const LISTS = ["questions", "actions"];
const MAX_ENTITIES_KEPT = 2000; // segments whose entities came before the segment was shown

export class LiveAnalysis {
  /** `transcript`: the element with the lines. `speakers`: whose names are shown. */
  constructor(client, transcript, needsKey, speakers) {
    this.client = client;
    this.transcript = transcript;
    this.needsKey = needsKey;
    this.speakers = speakers;
    speakers.addEventListener("changed", () => this.showNames());
    this.reset();
    $("live-digest").addEventListener("click", () => this.digest());
  }

  reset() {
    this.entities = new Map(); // segment → entities
    this.topics = new Map(); // segment → its best topic
    this.session = ""; // the id of the last one, whose digest the button shows
    for (const kind of LISTS) $(`live-${kind}`).replaceChildren();
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
      this.addItems($(`live-${kind}`), segment, data[kind].map((item) => ({ ...item, segment, start: item.start + offset })));
    }
  }

  /** Mark the entities of a segment, if both have come. */
  mark(segment) {
    const entities = this.entities.get(segment);
    const line = entities && this.line(segment);
    if (line && !line.classList.contains("corrected")) highlight(line.querySelector(".said"), entities);
  }

  line(segment) {
    return this.transcript.querySelector(`[role=log] .line[data-segment="${Number(segment)}"]`);
  }

  /** `analysing`: whether results are expected. `available`: whether an analyzer is running. */
  draw({ analysing, available }) {
    const found = this.topics.size || LISTS.some((kind) => $(`live-${kind}`).childElementCount);
    $("live-analysis").hidden = !analysing && !found;
    $("live-digest").disabled = !available || !this.session;
  }

  drawTopics() {
    const counts = new Map();
    for (const label of this.topics.values()) counts.set(label, (counts.get(label) ?? 0) + 1);
    const sorted = [...counts].sort(([, a], [, b]) => b - a);
    $("live-topics").replaceChildren(chips(sorted.map(([label, count]) => counted(label, count))));
  }

  /** Add a segment's questions or action items to their list, in place of earlier ones of this segment. */
  addItems(list, segment, items) {
    const rows = items.map((item) => make("li", { dataset: { segment } }, sentence(item, () => this.goTo(segment))));
    for (const row of [...list.children]) if (Number(row.dataset.segment) === segment) row.remove();
    const next = [...list.children].find((row) => Number(row.dataset.segment) > segment);
    if (next) next.before(...rows);
    else list.append(...rows);
    this.showNames();
  }

  showNames() {
    for (const id of ["live-analysis", "digest-results"]) showNames($(id), this.speakers);
  }

  goTo(segment) {
    this.line(segment)?.scrollIntoView({ block: "center" });
  }

  // --- the digest -----------------------------------------------------------------------------------

  async digest() {
    const dialog = $("digest");
    const notice = $("digest-notice");
    $("digest-results").replaceChildren();
    showNotice(notice, "Collecting what was said so far");
    if (!dialog.open) dialog.showModal();
    try {
      const { segments, seconds, ...results } = await this.client.analysis.digest(this.session);
      const play = (start, segment) => {
        dialog.close();
        this.goTo(segment);
      };
      const panel = new ResultsPanel({ play, label: "Digest" });
      panel.update(resultsOf(results));
      $("digest-results").replaceChildren(panel.element);
      this.showNames();
      showNotice(notice, "");
      $("digest-about").textContent = `Of ${clock(seconds)} of audio, ${segments} passages.`;
    } catch (error) {
      if (!this.needsKey(error)) showNotice(notice, explain(error), "bad");
    }
  }
}

/** The results among the fields of a digest. */
function resultsOf(digest) {
  return Object.fromEntries(Object.entries(digest).filter(([, value]) => value && typeof value === "object"));
}
