/** The Files view: uploads, their progress, and results. */

import { AnalyseChoice, SpeakersChoice } from "./choices.js";
import { $, explain, showNotice } from "./dom.js";
import { FileCard } from "./file-card.js";
import * as history from "./history.js";

const MAX_UPLOADS = 2; // concurrent

export class FilesView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.waiting = [];
    this.uploading = 0;
    this.analyse = new AnalyseChoice("files-analyse");
    this.speakers = new SpeakersChoice("files");
    const drop = $("files-drop");
    $("files-input").addEventListener("change", ({ target }) => {
      this.addFiles(target.files);
      target.value = "";
    });
    for (const type of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", type === "dragover");
        if (type === "drop") this.addFiles(event.dataTransfer.files);
      });
    }
    this.restore();
  }

  shown(visible) {
    if (visible) this.refresh();
  }

  /** Find out whether an analyzer is running. */
  async refresh() {
    try {
      this.analyse.update(await this.client.cluster());
    } catch {
      this.analyse.update({}); // the Live view asks for a key
    }
  }

  async restore() {
    for (const entry of (await history.entries()).reverse()) this.add(entry).resume();
  }

  /** Queue files that the user has chosen or dropped. */
  addFiles(files) {
    showNotice($("files-notice"), "");
    for (const file of files) {
      const entry = { id: crypto.randomUUID?.() ?? String(Math.random()), name: file.name, created: Date.now(), file };
      entry.split = $("files-split").checked;
      entry.analyse = this.analyse.chosen;
      entry.speakers = this.speakers.fields;
      this.waiting.push(this.add(entry));
    }
    this.upload();
  }

  add(entry) {
    const card = new FileCard(this.client, entry);
    card.addEventListener("removed", () => {
      this.waiting = this.waiting.filter((each) => each !== card);
      card.element.remove();
      this.count();
    });
    card.addEventListener("refused", ({ detail }) => {
      if (!this.needsKey(detail)) showNotice($("files-notice"), explain(detail), "bad");
    });
    $("files-list").prepend(card.element);
    this.count();
    return card;
  }

  count() {
    $("files-empty").hidden = $("files-list").childElementCount > 0;
  }

  async upload() {
    while (this.waiting.length && this.uploading < MAX_UPLOADS) {
      const card = this.waiting.shift();
      this.uploading++;
      card.upload().finally(() => {
        this.uploading--;
        this.upload();
      });
    }
  }
}
