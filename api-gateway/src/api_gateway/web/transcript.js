/** A transcript on screen: finals, and the open segment. */

import { languageName } from "./choices.js";
import { Corrections } from "./corrections.js";
import { clock, make } from "./dom.js";
import { Speakers } from "./speakers.js";
import { addHead, drawHead, keepingPlace, regroup } from "./speakers-view.js";

const NEAR_PX = 80; // scrolled this near to the end, the view scrolls with new text
const TIME_EVERY_S = 8; // lines that follow sooner show their time only when they are pointed at

export class TranscriptView {
  /**
   * `maxFinals`: number of finals on screen, for overlays; all by default. `speakers`, `corrections`: whose changes it
   * shows. `jump`: a button that leads to the newest words, shown while they are out of sight.
   */
  constructor(root, { maxFinals = Infinity, speakers = new Speakers(), corrections = new Corrections(), jump } = {}) {
    this.root = root;
    this.speakers = speakers;
    this.corrections = corrections;
    this.maxFinals = maxFinals;
    this.finals = make("div", { role: "log", ariaLive: "polite", ariaLabel: "Final text" });
    this.time = make("time");
    this.stable = document.createTextNode("");
    this.tail = document.createTextNode("");
    const words = make("span", { className: "said" }, make("span", { className: "stable" }, this.stable));
    words.append(make("span", { className: "tail" }, this.tail));
    this.open = addHead(make("p", { className: "line open", hidden: true }, this.time, words));
    root.replaceChildren(this.finals, this.open);
    this.restarted = false;
    this.jump = jump;
    this.clear();
    speakers.addEventListener("changed", () => this.regroup());
    corrections.addEventListener("changed", ({ detail }) => this.drawCorrection(detail));
    jump?.addEventListener("click", () => this.toEnd());
    if (jump) root.addEventListener("scroll", () => this.drawJump(), { passive: true });
  }

  /** The session was opened anew: its next final replaces the lines of its segment and of later ones. */
  restart() {
    this.restarted = true;
    this.segment = -1;
    this.close();
  }

  clear() {
    this.finals.replaceChildren();
    this.lines = new Map(); // segment → line
    this.segment = -1;
    this.person = undefined; // who says the last line
    this.language = undefined; // of the last line
    this.timed = -Infinity; // the last time that is shown
    this.root.classList.remove("bilingual");
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
    else this.drawJump();
  }

  /** Show a settled segment. One without text adds no line. */
  final({ segment, text, start, end, reason, speaker, language, translations }) {
    const following = this.following;
    if (this.restarted) {
      for (const line of [...this.finals.children]) if (Number(line.dataset.segment) >= segment) line.remove();
      this.restarted = false;
    }
    if (text) {
      const line = make("p", { className: "line", dataset: { segment } });
      line.append(make("time", {}, clock(start)), make("span", { className: "said", lang: language ?? "" }, text));
      this.translate(line, translations);
      this.tag(line, language);
      this.lines.set(segment, line);
      this.add(addHead(line));
      const before = this.person;
      this.speakers.say({ segment, speaker, start, end, text });
      this.person = speaker && this.speakers.personOf(speaker);
      drawHead(line, this.speakers, speaker, this.person !== before || this.finals.firstElementChild === line);
      if (start - this.timed < TIME_EVERY_S && this.person === before) line.classList.add("within");
      else this.timed = start;
      if (this.corrections.textOf(segment) !== undefined) this.drawCorrection(segment);
      if (speaker && this.speakers.isHidden(speaker)) this.regroup();
    } else if (reason === "engine_failed") this.remark("Some words are missing here: the speech recogniser failed. Say them again.");
    if (segment >= this.segment) this.close();
    if (following) this.follow();
    else this.drawJump();
  }

  /** Put the translation beside the words. */
  translate(line, translations) {
    const [[language, text] = []] = Object.entries(translations ?? {});
    if (!text) return;
    this.root.classList.add("bilingual");
    line.append(make("span", { className: "translation", lang: language }, text));
  }

  /** Name the language where it changes. */
  tag(line, language) {
    if (!language || language === this.language) return;
    if (this.language) line.querySelector("time").after(make("small", { className: "tongue" }, languageName(language)));
    this.language = language;
  }

  /** Show a segment with its correction, or as it was recognised. */
  drawCorrection(segment) {
    const line = this.lines.get(segment);
    if (!line) return;
    const said = line.querySelector(".said");
    line.original ??= said.textContent;
    const text = this.corrections.textOf(segment);
    said.replaceChildren(text ?? line.original);
    line.classList.toggle("corrected", text !== undefined);
    if (text === undefined) said.removeAttribute("title");
    else said.title = `Recognised: ${line.original}`;
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
    while (this.finals.childElementCount > this.maxFinals) {
      const oldest = this.finals.firstElementChild;
      this.lines.delete(Number(oldest.dataset.segment));
      oldest.remove();
    }
  }

  close() {
    this.open.hidden = true;
    this.stable.data = this.tail.data = "";
  }

  /** The element with the words of a final; undefined if it isn't shown. */
  said(segment) {
    return this.lines.get(segment)?.querySelector(".said");
  }

  /** Scroll to an element, unless it is in sight. */
  reveal(element) {
    const view = this.root.getBoundingClientRect();
    const { top, bottom } = element.getBoundingClientRect();
    if (top < view.top || bottom > view.bottom) element.scrollIntoView({ block: "center" });
  }

  get following() {
    const { scrollHeight, scrollTop, clientHeight } = this.root;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  follow() {
    this.root.scrollTop = this.root.scrollHeight;
  }

  toEnd() {
    this.follow();
    this.drawJump();
  }

  drawJump() {
    if (this.jump) this.jump.hidden = this.following;
  }
}
