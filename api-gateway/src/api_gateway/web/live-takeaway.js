/** What can be taken from the Live view: the text for the clipboard, and files. */

import { $, fileName, save } from "./dom.js";
import { FORMATS, plain } from "./formats.js";

export class Takeaway {
  /** `finals()`: as they are shown, with names and corrections; `title()`; `say(text, kind)`: shows a notice. */
  constructor({ finals, title, say }) {
    this.finals = finals;
    this.title = title;
    this.say = say;
    this.buttons = [...document.querySelectorAll("[data-download]")];
    $("live-copy").addEventListener("click", () => this.copy());
    for (const button of this.buttons) button.addEventListener("click", () => this.download(button.dataset.download));
  }

  enable(enabled) {
    for (const button of [$("live-copy"), ...this.buttons]) button.disabled = !enabled;
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(plain(this.finals()));
      this.say("Copied.");
    } catch {
      this.say("The browser doesn't allow this page to copy. Download TXT instead.", "bad");
    }
  }

  download(ending) {
    const [type, write] = FORMATS[ending];
    save(fileName(this.title(), ending), write(this.finals(), this.title()), type);
  }
}
