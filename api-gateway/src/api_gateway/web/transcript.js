/** A transcript on screen: finals, and the segment that is still open. */

import { clock, make } from "./dom.js";

const NEAR_PX = 80; // so near to the end counts as following

export class TranscriptView {
  /** `most`: how many finals stay on screen (overlays); all by default. */
  constructor(root, { most = Infinity } = {}) {
    this.root = root;
    this.most = most;
    this.finals = make("div", { role: "log", ariaLive: "polite", ariaLabel: "Finished sentences" });
    this.time = make("time");
    this.stable = document.createTextNode("");
    this.tail = document.createTextNode("");
    const words = make("span", {}, make("span", { className: "stable" }, this.stable));
    words.append(make("span", { className: "tail" }, this.tail));
    this.open = make("p", { className: "line open", hidden: true }, this.time, words);
    root.replaceChildren(this.finals, this.open);
    this.segment = -1;
  }

  clear() {
    this.finals.replaceChildren();
    this.close();
  }

  /** What is known of the open segment. Stable text is only ever added to. */
  partial({ segment, stable, text, start }) {
    const following = this.following;
    if (segment !== this.segment || !stable.startsWith(this.stable.data)) this.stable.data = "";
    this.segment = segment;
    if (stable.length > this.stable.data.length) this.stable.appendData(stable.slice(this.stable.data.length));
    const tail = text.slice(stable.length);
    if (tail !== this.tail.data) this.tail.data = tail;
    this.open.dataset.segment = segment;
    this.time.textContent = clock(start);
    this.open.hidden = false;
    if (following) this.follow();
  }

  /** A settled segment; one without words leaves no line. */
  final({ segment, text, start, reason }) {
    const following = this.following;
    if (text) {
      const line = make("p", { className: "line", dataset: { segment } });
      line.append(make("time", {}, clock(start)), make("span", {}, text));
      this.add(line);
    } else if (reason === "engine_failed") this.remark("Here the recogniser failed; these words are lost.");
    if (segment >= this.segment) this.close();
    if (following) this.follow();
  }

  /** A word from us among the words. */
  remark(text) {
    this.add(make("p", { className: "line remark" }, make("time"), make("span", {}, text)));
  }

  add(line) {
    this.finals.append(line);
    while (this.finals.childElementCount > this.most) this.finals.firstElementChild.remove();
  }

  close() {
    this.open.hidden = true;
    this.stable.data = this.tail.data = "";
  }

  get following() {
    const { scrollHeight, scrollTop, clientHeight } = this.root;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  follow() {
    this.root.scrollTop = this.root.scrollHeight;
  }
}
