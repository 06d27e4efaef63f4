/** The words of a file's transcript as buttons: a click plays from a word, and the word that is played is marked. */

import { clock, make } from "./dom.js";
import { addHead } from "./speakers-view.js";

const EARLY_S = 0.02; // a word is marked this long before it begins

/** Dispatches `play` with the time of the word that was chosen, in `detail`. */
export class FileWords extends EventTarget {
  constructor() {
    super();
    const ariaLabel = "Words; arrow keys move, Enter plays from a word";
    this.element = make("div", { className: "words", role: "group", ariaLabel });
    this.element.addEventListener("click", ({ target }) => {
      if (target.dataset?.start === undefined) return;
      this.dispatchEvent(new CustomEvent("play", { detail: Number(target.dataset.start) }));
    });
    this.element.addEventListener("keydown", (event) => this.moveFocus(event));
    this.element.addEventListener("focusin", ({ target }) => this.setTabStop(target));
  }

  /** Show segments; `original`: the same ones without corrections. Only one word has a Tab stop; the arrow keys move to the others. */
  show(segments, original = segments) {
    this.buttons = [];
    this.starts = [];
    this.lines = []; // {key, segment?, text, line, buttons}
    this.current = undefined;
    const paragraphs = segments.map((each, segment) => this.paragraph(each, segment, original[segment]));
    this.element.replaceChildren(...paragraphs);
    if (this.buttons.length) this.buttons[0].tabIndex = 0;
  }

  paragraph({ start, text, words }, segment, original) {
    const line = make("span");
    const buttons = [];
    const recognised = new Set(original.words?.map((each) => `${each.start} ${each.word}`));
    for (const { word, start: from, end: to } of words ?? []) {
      const button = make("button", { type: "button", tabIndex: -1, dataset: { start: from, end: to } }, word);
      if (!recognised.has(`${from} ${word}`)) button.className = "corrected";
      buttons.push(button);
      this.starts.push(from);
      line.append(button, " ");
    }
    if (!words?.length) {
      line.append(text);
      line.className = text === original.text ? "" : "corrected";
    }
    this.buttons.push(...buttons);
    this.lines.push({ key: keyOf(original), text, line, buttons });
    return addHead(make("p", { dataset: { segment } }, make("time", {}, clock(start)), line));
  }

  moveFocus(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    const here = this.buttons.indexOf(event.target);
    const next = this.buttons[here + steps[event.key]];
    if (here < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  /** Move the Tab stop to `button`. */
  setTabStop(button) {
    for (const each of this.buttons) if (each.tabIndex === 0) each.tabIndex = -1;
    button.tabIndex = 0;
  }

  /** Mark the word that is spoken at `time`, in seconds, and keep it in sight if the words are `followed`. */
  mark(time, { followed = false } = {}) {
    const current = this.buttons[this.indexAt(time + EARLY_S)];
    if (current === this.current) return;
    this.current?.classList.remove("now");
    this.current?.removeAttribute("aria-current");
    current?.classList.add("now");
    current?.setAttribute("aria-current", "true");
    this.current = current;
    if (followed && current && !this.element.contains(document.activeElement)) this.reveal(current);
  }

  /** The last word that begins at `time` or before. Words are in the order of their times, but for a few of different speakers. */
  indexAt(time) {
    let [from, to] = [0, this.starts.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.starts[middle] <= time) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }

  reveal(word) {
    const [inner, outer] = [word.getBoundingClientRect(), this.element.getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) this.element.scrollTop += inner.top - outer.top - outer.height / 3;
  }

  /** Go to a segment, by its number in an analysis. */
  goTo(segment) {
    this.lines.find((line) => line.segment === segment)?.line.scrollIntoView({ block: "center" });
  }
}

/** What identifies a segment: a job's result doesn't number its segments as its analysis does. */
export const keyOf = ({ start, speaker = "", text }) => JSON.stringify([start, speaker ?? "", text]);
