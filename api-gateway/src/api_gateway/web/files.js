/** The Files view: uploads, their progress, and the results. */

import { $, explain, make, tell } from "./dom.js";
import { FileCard } from "./file-card.js";
import * as history from "./history.js";

const AT_ONCE = 2; // uploads

export class FilesView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.waiting = [];
    this.uploading = 0;
    const drop = $("files-drop");
    $("files-input").addEventListener("change", ({ target }) => {
      this.take(target.files);
      target.value = "";
    });
    for (const type of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", type === "dragover");
        if (type === "drop") this.take(event.dataTransfer.files);
      });
    }
    this.restore();
  }

  async restore() {
    for (const entry of (await history.entries()).reverse()) this.add(entry).resume();
  }

  /** Take files that the user has chosen or dropped. */
  take(files) {
    tell($("files-notice"), "");
    for (const file of files) {
      const entry = { id: crypto.randomUUID?.() ?? String(Math.random()), name: file.name, created: Date.now(), file };
      entry.split = $("files-split").checked;
      this.waiting.push(this.add(entry));
    }
    this.upload();
  }

  add(entry) {
    const card = new FileCard(this.client, entry);
    card.addEventListener("gone", () => {
      this.waiting = this.waiting.filter((each) => each !== card);
      card.element.remove();
      this.count();
    });
    card.addEventListener("refused", ({ detail }) => {
      if (!this.needsKey(detail)) tell($("files-notice"), explain(detail), "bad");
    });
    $("files-list").prepend(card.element);
    this.count();
    return card;
  }

  count() {
    $("files-empty").hidden = $("files-list").childElementCount > 0;
  }

  async upload() {
    while (this.waiting.length && this.uploading < AT_ONCE) {
      const card = this.waiting.shift();
      this.uploading++;
      card.upload().finally(() => {
        this.uploading--;
        this.upload();
      });
    }
  }
}
