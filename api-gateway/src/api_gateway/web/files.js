/** The Files view: what is dropped or chosen, the queue of uploads, and the list of files. */

import { AnalyseChoice, SpeakersChoice } from "./choices.js";
import { $, explain, showNotice } from "./dom.js";
import { MAX_FILES, chosen, dropped } from "./dropped.js";
import { ExportDialog } from "./export-dialog.js";
import { FileCard } from "./file-card.js";
import { FileQueue } from "./file-queue.js";
import * as history from "./history.js";
import { JobProgress } from "./job-progress.js";

const MAX_UPLOADS = 2; // concurrent
const MAX_ANALYSES = 2; // concurrent event streams; a browser has six connections to a host

export class FilesView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.waiting = [];
    this.uploading = 0;
    this.shared = { jobs: new JobProgress(client), analyses: limited(MAX_ANALYSES) };
    this.analyse = new AnalyseChoice("files-analyse");
    this.speakers = new SpeakersChoice("files");
    this.dialog = new ExportDialog(client);
    this.queue = new FileQueue((cards) => cards.forEach((card) => card.remove()));
    this.accept();
    addEventListener("parlando-reachable", () => this.refresh());
    this.restore();
  }

  accept() {
    const drop = $("files-drop");
    for (const [id, folder] of [["files-input", false], ["files-folder", true]]) {
      $(id).addEventListener("change", ({ target }) => {
        this.addFiles(chosen(target.files, { folder }));
        target.value = "";
      });
    }
    for (const type of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(type, async (event) => {
        event.preventDefault();
        drop.classList.toggle("over", type === "dragover");
        if (type === "drop") this.addFiles(await dropped(event.dataTransfer));
      });
    }
  }

  shown(visible) {
    if (visible) this.refresh();
  }

  /** Find out whether an analyzer is running. `failed`: what to do without an answer; the Live view asks for a key. */
  refresh(failed = () => this.analyse.update({})) {
    return this.client.cluster().then((cluster) => this.analyse.update(cluster), failed);
  }

  /** Another worker may have started. One request without an answer changes nothing. */
  recheck() {
    return this.refresh(() => {});
  }

  async restore() {
    for (const entry of (await history.entries()).reverse()) this.add(entry).resume();
  }

  /** Queue files that the user has chosen or dropped. */
  addFiles({ files, skipped, cut }) {
    const remarks = [
      skipped ? `${skipped} ${skipped === 1 ? "file was" : "files were"} left out: no recordings.` : "",
      cut ? `Only the first ${MAX_FILES} files were added.` : "",
    ];
    showNotice($("files-notice"), remarks.filter(Boolean).join(" "));
    const created = Date.now();
    for (const [n, { file, name }] of files.entries()) {
      const entry = { id: crypto.randomUUID?.() ?? String(Math.random()), name, created: created + n / 1000, file };
      entry.split = $("files-split").checked;
      entry.analyse = this.analyse.chosen;
      entry.speakers = this.speakers.fields;
      const card = this.add(entry);
      this.waiting.push(card);
      this.queue.add(card);
    }
    this.upload();
  }

  add(entry) {
    const card = new FileCard(this.client, entry, this.shared);
    card.addEventListener("removed", () => {
      this.waiting = this.waiting.filter((each) => each !== card);
      card.element.remove();
      this.count();
    });
    card.addEventListener("refused", ({ detail }) => {
      if (!this.needsKey(detail)) showNotice($("files-notice"), explain(detail), "bad");
    });
    card.addEventListener("export", ({ detail }) => this.dialog.open(detail));
    $("files-list").prepend(card.element);
    this.count();
    return card;
  }

  count() {
    $("files-empty").hidden = $("files-list").childElementCount > 0;
  }

  upload() {
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

/** A function that runs actions, at most `most` at a time; the others wait for their turn. */
function limited(most) {
  const waiting = [];
  let running = 0;
  return async (action) => {
    if (running >= most) await new Promise((resolve) => waiting.push(resolve));
    running++;
    try {
      return await action();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
}
