/** Search in the transcript. Matches are highlighted over the text; new lines are searched as they come. */

import { $ } from "./dom.js";
import { highlightRanges, rangeIn } from "./text-ranges.js";

const AGAIN_MS = 300; // after new text
const MAX_MATCHES = 2000;

/** The places of `wanted` in `text`, without regard to case. */
function matchesIn(text, wanted) {
  const found = [];
  const [all, part] = [text.toLowerCase(), wanted.toLowerCase()];
  if (!part || all.length !== text.length) return found;
  for (let at = all.indexOf(part); at >= 0; at = all.indexOf(part, at + part.length)) found.push(at);
  return found;
}

export class LiveSearch {
  /** `view`: the transcript. */
  constructor(view) {
    this.view = view;
    this.matches = [];
    this.now = 0;
    $("live-find").addEventListener("click", () => (this.opened ? this.close() : this.open()));
    $("live-search-close").addEventListener("click", () => this.close());
    $("live-previous").addEventListener("click", () => this.go(-1));
    $("live-query").addEventListener("input", () => this.find({ anew: true }));
    $("live-search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.go(1);
    });
    $("live-search").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
      else if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.go(-1);
      }
    });
    new MutationObserver(() => this.opened && this.soon()).observe(view.finals, { subtree: true, childList: true });
  }

  get opened() {
    return !$("live-search").hidden;
  }

  open() {
    $("live-search").hidden = false;
    $("live-find").ariaExpanded = "true";
    $("live-query").focus();
    $("live-query").select();
    this.find({ anew: true });
  }

  close() {
    const inside = $("live-search").contains(document.activeElement);
    $("live-search").hidden = true;
    $("live-find").ariaExpanded = "false";
    if (inside) $("live-find").focus();
    this.matches = [];
    this.paint();
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.opened && this.find(), AGAIN_MS);
  }

  /** `anew`: the query has changed, and the last match is shown; else the place in the list stays. */
  find({ anew = false } = {}) {
    const wanted = $("live-query").value.trim();
    this.matches = [];
    for (const said of wanted ? this.view.finals.querySelectorAll(".said, .translation") : []) {
      for (const from of matchesIn(said.textContent, wanted)) this.matches.push({ said, from, to: from + wanted.length });
      if (this.matches.length >= MAX_MATCHES) break;
    }
    if (anew) this.now = this.matches.length - 1;
    this.paint();
    if (anew) this.show();
  }

  /** Go to the next match (1) or the one before (-1). */
  go(step) {
    const { length } = this.matches;
    if (!length) return;
    this.now = (this.now + step + length) % length;
    this.paint();
    this.show();
  }

  paint() {
    this.now = Math.max(0, Math.min(this.now, this.matches.length - 1));
    const ranges = this.matches.map(({ said, from, to }) => rangeIn(said, from, to)).filter(Boolean);
    const current = ranges[this.now];
    highlightRanges("found", ranges.filter((range) => range !== current));
    highlightRanges("found-now", current ? [current] : []);
    const many = this.matches.length >= MAX_MATCHES ? "+" : "";
    const text = this.matches.length ? `${this.now + 1} of ${this.matches.length}${many}` : "No match";
    $("live-matches").textContent = $("live-query").value.trim() ? text : "";
  }

  show() {
    const match = this.matches[this.now];
    if (match) this.view.reveal(match.said);
  }
}
