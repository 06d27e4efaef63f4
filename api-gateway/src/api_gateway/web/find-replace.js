/** Find and replace in one file's transcript. The recognised text is kept; the last replacement can be undone. */

import { make } from "./dom.js";
import { countOf } from "./replacements.js";

/** Dispatches `changed` after a change of the list of replacements. */
export class FindReplace extends EventTarget {
  /** `replacements`: the list, which it changes; `segments()`: the segments as they are shown. */
  constructor(name, replacements, segments) {
    super();
    this.replacements = replacements;
    this.segments = segments;
    const field = (label) => {
      const input = make("input", { type: "text", maxLength: 200, autocomplete: "off" });
      return [input, make("label", {}, make("span", {}, label), input)];
    };
    const choice = (label) => {
      const input = make("input", { type: "checkbox" });
      return [input, make("label", { className: "pick" }, input, label)];
    };
    const [find, findLabel] = field("Find");
    const [replace, replaceLabel] = field("Replace by");
    const [matchCase, caseLabel] = choice("Match case");
    const [wholeWords, wordsLabel] = choice("Whole words");
    Object.assign(this, { find, replace, matchCase, wholeWords });
    this.apply = make("button", { type: "submit", disabled: true }, "Replace all");
    this.undo = make("button", { type: "button", className: "quiet", disabled: true }, "Undo");
    this.found = make("p", { className: "small grow", role: "status" });
    this.element = make("form", { className: "find-replace", ariaLabel: `Find and replace in ${name}`, hidden: true });
    this.element.append(findLabel, replaceLabel, caseLabel, wordsLabel, this.apply, this.undo, this.found);
    this.element.addEventListener("input", () => this.draw());
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.replaceAll();
    });
    this.undo.addEventListener("click", () => {
      this.replacements.pop();
      this.draw("Undone.");
      this.dispatchEvent(new Event("changed"));
    });
    this.draw("");
  }

  get wanted() {
    const { find, replace, matchCase, wholeWords } = this;
    return { find: find.value, replace: replace.value, matchCase: matchCase.checked, wholeWords: wholeWords.checked };
  }

  replaceAll() {
    const { wanted } = this;
    const count = countOf(this.segments(), wanted);
    if (!count) return;
    this.replacements.push(wanted);
    this.dispatchEvent(new Event("changed"));
    this.draw(`${count} replaced.`);
  }

  draw(text) {
    const { wanted } = this;
    const count = countOf(this.segments(), wanted);
    this.apply.disabled = !count;
    this.undo.disabled = !this.replacements.length;
    this.found.textContent = text ?? (wanted.find.trim() ? `${count} found.` : "");
  }
}
