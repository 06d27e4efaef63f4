/** A transcript on screen: finals, and the open segment. */

import { clock, make } from "./dom.js";
import { Speakers } from "./speakers.js";
import { addHead, drawHead, keepingPlace, regroup } from "./speakers-view.js";

const NEAR_PX = 80; // scrolled this near to the end, the view scrolls with new text

export class TranscriptView {
  /** `maxFinals`: number of finals on screen, for overlays; all by default. `speakers`: whose changes it shows. */
  constructor(root, { maxFinals = Infinity, speakers = new Speakers() } = {}) {
    this.root = root;
    this.speakers = speakers;
    this.maxFinals = maxFinals;
    this.finals = make("div", { role: "log", ariaLive: "polite", ariaLabel: "Final text" });
    this.time = make("time");
    this.stable = document.createTextNode("");
    this.tail = document.createTextNode("");
    const words = make("span", {}, make("span", { className: "stable" }, this.stable));
    words.append(make("span", { className: "tail" }, this.tail));
    this.open = addHead(make("p", { className: "line open", hidden: true }, this.time, words));
    root.replaceChildren(this.finals, this.open);
    this.segment = -1;
    this.restarted = false;
    speakers.addEventListener("changed", () => this.regroup());
  }

  /** The session was opened anew: its next final replaces the lines of its segment and of later ones. */
  restart() {
    this.restarted = true;
    this.segment = -1;
    this.close();
  }

  clear() {
    this.finals.replaceChildren();
    this.person = undefined; // who says the last line
    this.close();
  }

  /** Show the hypothesis of the open segment. Stable text only grows. */
  partial({ segment, stable, text, start, speaker }) {
    const following = this.following;
    if (segment !== this.segment || !stable.startsWith(this.stable.data)) this.stable.data = "";
    this.segment = segment;
    if (stable.length > this.stable.data.length) this.stable.appendData(stable.slice(this.stable.data.length));
    const tail = text.slice(stable.length);
    if (tail !== this.tail.data) this.tail.data = tail;
    this.open.dataset.segment = segment;
    this.time.textContent = clock(start);
    this.speaking = speaker;
    this.drawOpen();
    if (following) this.follow();
  }

  /** Show a settled segment. One without text adds no line. */
  final({ segment, text, start, end, reason, speaker }) {
    const following = this.following;
    if (this.restarted) {
      for (const line of [...this.finals.children]) if (Number(line.dataset.segment) >= segment) line.remove();
      this.restarted = false;
    }
    if (text) {
      const line = make("p", { className: "line", dataset: { segment } });
      line.append(make("time", {}, clock(start)), make("span", {}, text));
      this.add(addHead(line));
      const before = this.person;
      this.speakers.say({ segment, speaker, start, end, text });
      this.person = speaker && this.speakers.personOf(speaker);
      drawHead(line, this.speakers, speaker, this.person !== before || this.finals.firstElementChild === line);
      if (speaker && this.speakers.isHidden(speaker)) this.regroup();
    } else if (reason === "engine_failed") this.remark("The speech engine failed here; this part of the transcript is missing.");
    if (segment >= this.segment) this.close();
    if (following) this.follow();
  }

  /** Add a remark of the app between the lines; `start`: its time in seconds, if it has one. */
  remark(text, start) {
    const following = this.following;
    const time = make("time", {}, start === undefined ? "" : clock(start));
    this.add(make("p", { className: "line remark" }, time, make("span", {}, text)));
    if (following) this.follow();
  }

  /** Show a change of earlier speakers, of names or of the filter; what is read stays at its place. */
  regroup() {
    const { following } = this;
    const lines = [...this.finals.children];
    keepingPlace(this.root, lines, () => {
      this.person = regroup(lines, this.speakers);
      if (!this.open.hidden) this.drawOpen();
    });
    if (following) this.follow();
  }

  /** Show the open segment, under its speaker if it is known. */
  drawOpen() {
    const { speaking, speakers } = this;
    this.open.hidden = Boolean(speaking) && speakers.isHidden(speaking);
    drawHead(this.open, speakers, speaking, Boolean(speaking) && speakers.personOf(speaking) !== this.person);
  }

  add(line) {
    this.finals.append(line);
    while (this.finals.childElementCount > this.maxFinals) this.finals.firstElementChild.remove();
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
