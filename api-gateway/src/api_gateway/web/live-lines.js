/** What can be done with one line of the transcript: correct it, undo the correction, play it again. */

import { explain, icon, make } from "./dom.js";
import { positionAt } from "./text-ranges.js";
import { wordsIn } from "./live-recording.js";

const MAX_TEXT = 2000; // characters of a correction that the gateway accepts
const EDIT = "Correct this line";

export class LineTools {
  /**
   * `view`: the transcript. `correct(segment, text)`: stores a correction, null takes it away. `final(segment)`: its
   * data. `playback`: a recording of it, if there is one. `say(text, kind)`: shows a notice.
   */
  constructor(view, { correct, final, playback, say }) {
    Object.assign(this, { view, correct, final, playback, say });
    const button = (name, text, run) => {
      const element = make("button", { type: "button", className: "quiet round", title: text, ariaLabel: text }, icon(name));
      element.addEventListener("click", run);
      return element;
    };
    this.edit = button("edit", EDIT, () => this.begin());
    this.undo = button("undo", "Show what was recognised again", () => this.store(null));
    this.play = button("play", "Play from here", () => this.playLine());
    this.element = make("div", { className: "line-tools", role: "toolbar", ariaLabel: "This line", hidden: true });
    this.element.append(this.play, this.edit, this.undo);
    view.root.append(this.element);
    view.root.addEventListener("pointerover", ({ target }) => this.point(target.closest?.("[role=log] .line[data-segment]")));
    view.root.addEventListener("dblclick", (event) => this.pressedTwice(event));
    view.root.addEventListener("click", (event) => this.pressed(event));
  }

  clear() {
    this.finish();
    this.line = undefined;
    this.element.hidden = true;
  }

  get segment() {
    return Number(this.line.dataset.segment);
  }

  /** Put the tools on a line. */
  point(line) {
    if (!line || this.field) return;
    this.line?.classList.remove("current");
    line.classList.add("current");
    this.edit.ariaLabel = EDIT;
    this.line = line;
    this.draw();
  }

  draw() {
    this.element.hidden = !this.line?.isConnected || Boolean(this.field);
    if (this.element.hidden) return;
    this.play.hidden = !this.playback.ready;
    this.undo.hidden = !this.line.classList.contains("corrected");
    this.element.style.top = `${this.line.offsetTop}px`;
  }

  /** Go to the next (1) or previous (-1) line; the first time to the last line. */
  move(step) {
    if (this.field) return false;
    const lines = [...this.view.lines.values()].filter((line) => !line.hidden);
    const at = lines.indexOf(this.line);
    const line = at < 0 ? lines.at(-1) : lines[Math.max(0, Math.min(lines.length - 1, at + step))];
    if (!line) return false;
    this.point(line);
    this.view.reveal(line);
    this.edit.ariaLabel = `Correct: ${line.querySelector(".said").textContent}`;
    this.edit.focus({ preventScroll: true });
    return true;
  }

  playLine() {
    if (!this.line || !this.playback.ready) return false;
    this.playback.play(this.final(this.segment)?.start ?? 0);
    return true;
  }

  /** A press on a word plays from there, if there is a recording. */
  pressed(event) {
    const said = event.target.closest?.("[role=log] .said");
    if (!said || !this.playback.ready || !getSelection().isCollapsed) return;
    const final = this.final(Number(said.closest(".line").dataset.segment));
    const at = positionAt(said, event.clientX, event.clientY);
    if (!final || at === null) return;
    const place = wordsIn(said.textContent, final).findIndex((word) => word && at <= word.to);
    this.playback.play(final.words?.[place]?.start ?? final.start);
  }

  pressedTwice(event) {
    const said = event.target.closest?.("[role=log] .said");
    if (!said || this.field) return;
    const at = positionAt(said, event.clientX, event.clientY);
    this.point(said.closest(".line"));
    this.begin(at ?? undefined);
  }

  // --- a correction ---------------------------------------------------------------------------------

  /** Make the line a field; `at`: the position in the text whose word is selected. */
  begin(at) {
    if (this.field) return false;
    if (!this.line) this.point([...this.view.lines.values()].at(-1));
    if (!this.line) return false;
    const said = this.line.querySelector(".said");
    const text = said.textContent;
    const hint = make("small", {}, make("kbd", {}, "Enter"), " saves, ", make("kbd", {}, "Esc"), " cancels");
    this.field = make("textarea", { value: text, rows: 1, maxLength: MAX_TEXT, ariaLabel: EDIT, spellcheck: true });
    this.form = make("span", { className: "correcting" }, this.field, hint);
    this.field.addEventListener("keydown", (event) => this.typed(event));
    this.field.addEventListener("input", () => this.fit());
    said.hidden = true;
    said.after(this.form);
    this.draw();
    this.fit();
    this.field.focus();
    const before = at === undefined ? 0 : text.slice(0, at).search(/\S*$/);
    const after = at === undefined ? text.length : at + /^\S*/.exec(text.slice(at))[0].length;
    this.field.setSelectionRange(before, after);
    return true;
  }

  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  typed(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.finish();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.store(this.field.value.replace(/\s+/g, " ").trim());
    }
  }

  async store(text) {
    const { segment, line, field } = this;
    if (field?.readOnly) return; // it is being saved
    if (field) field.readOnly = true;
    const shown = line.querySelector(".said").textContent;
    try {
      if (text !== "" && text !== shown) await this.correct(segment, text === line.original ? null : text);
      if (this.field === field) this.finish();
    } catch (error) {
      if (field) field.readOnly = false;
      this.say(`The correction isn't saved. ${explain(error)}`, "bad");
    }
  }

  finish() {
    if (!this.field) return this.draw();
    const said = this.line.querySelector(".said");
    const inside = this.form.contains(document.activeElement);
    this.form.remove();
    said.hidden = false;
    this.field = this.form = undefined;
    this.draw();
    if (inside) this.edit.focus({ preventScroll: true });
  }
}
