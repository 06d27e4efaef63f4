/** Keyboard shortcuts of one key, the dialog that lists them, and the choice to have none. */

import { $, make } from "./dom.js";

const OFF = "parlando.no-shortcuts";

export class Shortcuts {
  /** `actions()`: the shortcuts of the shown view, [{keys, text, run}]; `run` returns false if it can't be done now. */
  constructor(actions) {
    this.actions = actions;
    $("open-shortcuts").addEventListener("click", () => this.open());
    $("shortcuts-on").checked = !localStorage.getItem(OFF);
    $("shortcuts-on").addEventListener("change", ({ target }) => localStorage.setItem(OFF, target.checked ? "" : "1"));
    addEventListener("keydown", (event) => this.pressed(event));
  }

  open() {
    const rows = [...this.actions(), { keys: ["?"], text: "Show this list" }].flatMap(({ keys, text }) => [
      make("dt", {}, ...keys.flatMap((key, n) => [...(n ? [" or "] : []), make("kbd", {}, key === " " ? "Space" : key)])),
      make("dd", {}, text),
    ]);
    $("shortcuts-list").replaceChildren(...rows);
    $("shortcuts").showModal();
  }

  pressed(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (localStorage.getItem(OFF) || document.querySelector("dialog[open]")) return;
    const { target, key } = event;
    if (target.closest?.("input, textarea, select, audio, [contenteditable]")) return;
    if ([" ", "Enter"].includes(key) && target.closest?.("button, a, summary, label")) return;
    if (key === "?") {
      event.preventDefault();
      this.open();
      return;
    }
    const action = this.actions().find(({ keys }) => keys.some((each) => each.toLowerCase() === key.toLowerCase()));
    if (action && action.run() !== false) event.preventDefault();
  }
}
