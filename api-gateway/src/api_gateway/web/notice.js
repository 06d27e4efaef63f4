/** A place for notices: those that go by themselves, and errors, which stay. */

import { explain, showNotice } from "./dom.js";

const NOTICE_MS = 8000;

export class Notice {
  constructor(element) {
    this.element = element;
  }

  clear() {
    clearTimeout(this.timer);
    showNotice(this.element, "");
  }

  /** Show a text for some seconds. `kind`: "", "warn" or "bad". */
  say(text, kind) {
    this.clear();
    showNotice(this.element, text, kind);
    this.timer = setTimeout(() => this.clear(), NOTICE_MS);
  }

  fail(error) {
    this.clear();
    showNotice(this.element, explain(error), "bad");
  }
}
