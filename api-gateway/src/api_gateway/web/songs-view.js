/** The Songs view: registering files, the list of songs, and "What is playing?". */

import { $, clock, explain, make, showNotice } from "./dom.js";
import { Capture } from "./parlando.js";
import { wav } from "./wav.js";

const LISTEN_S = 10;
const MAX_UPLOADS = 2; // concurrent
const PAGE = 100;

export class SongsView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.waiting = [];
    this.counts = { registered: 0, known: 0, failed: [], total: 0 };
    this.uploading = 0;
    this.next = 0; // `after` of the next page; null after the last one
    this.rows = make("tbody");
    const head = ["Title", "Artist", "Album", "Length", ""].map((name) => make("th", { scope: "col" }, name || make("span", { className: "for-readers" }, "Actions")));
    $("songs-table").append(make("thead", {}, make("tr", {}, ...head)), this.rows);
    $("songs-listen").addEventListener("click", () => this.listen());
    $("songs-more").addEventListener("click", () => this.load());
    $("songs-file").addEventListener("change", ({ target }) => {
      if (target.files.length) this.recognise(target.files[0], target.files[0].name);
      target.value = "";
    });
    $("songs-input").addEventListener("change", ({ target }) => {
      this.addFiles(target.files);
      target.value = "";
    });
    const drop = $("songs-drop");
    for (const type of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", type === "dragover");
        if (type === "drop") this.addFiles(event.dataTransfer.files);
      });
    }
  }

  shown(visible) {
    if (visible) this.refresh();
  }

  // --- the list -------------------------------------------------------------------------------------

  async refresh() {
    this.next = 0;
    this.rows.replaceChildren();
    await this.load();
  }

  async load() {
    try {
      const after = this.next;
      const { songs, total, next } = await this.client.songs.list({ after, limit: PAGE });
      if (after !== this.next) return; // another load was faster
      this.next = next;
      this.rows.append(...songs.map((song) => this.row(song)));
      $("songs-count").textContent = total ? `Registered songs (${total})` : "No songs are registered yet";
      $("songs-table").hidden = !total;
      $("songs-more").hidden = next === null;
    } catch (error) {
      this.showError(error);
    }
  }

  row(song) {
    const remove = make("button", { type: "button", className: "quiet", ariaLabel: `Remove ${song.title}` }, "Remove");
    const cells = [song.title, song.artist, song.album, clock(song.duration)].map((text) => make("td", {}, text));
    const row = make("tr", { dataset: { song: song.id } }, ...cells, make("td", {}, remove));
    remove.addEventListener("click", async () => {
      remove.disabled = true;
      try {
        await this.client.songs.remove(song.id);
        await this.refresh();
      } catch (error) {
        remove.disabled = false;
        this.showError(error);
      }
    });
    return row;
  }

  // --- registering ----------------------------------------------------------------------------------

  addFiles(files) {
    if (!this.uploading) this.counts = { registered: 0, known: 0, failed: [], total: 0 };
    showNotice($("songs-notice"), "");
    this.waiting.push(...files);
    this.counts.total += files.length;
    this.upload();
  }

  async upload() {
    while (this.waiting.length && this.uploading < MAX_UPLOADS) {
      const file = this.waiting.shift();
      this.uploading++;
      this.register(file).finally(() => {
        this.uploading--;
        this.upload();
      });
    }
    this.drawProgress();
    if (!this.waiting.length && !this.uploading) await this.refresh();
  }

  async register(file) {
    try {
      await this.client.songs.register(file);
      this.counts.registered++;
    } catch (error) {
      if (this.needsKey(error)) this.waiting = [];
      this.counts.failed.push(`${file.name}: ${explain(error)}`);
    }
  }

  drawProgress() {
    const { registered, failed, total } = this.counts;
    const done = registered + failed.length;
    $("songs-progress").hidden = done >= total;
    $("songs-progress").value = total ? done / total : 0;
    if (!total) return;
    const text = `${registered} of ${total} registered.`;
    if (failed.length) showNotice($("songs-notice"), `${text} Failed: ${failed.join("; ")}`, "bad");
    else showNotice($("songs-notice"), text);
  }

  // --- recognising ----------------------------------------------------------------------------------

  async listen() {
    const button = $("songs-listen");
    button.disabled = true;
    let capture;
    try {
      const frames = [];
      capture = await Capture.microphone();
      capture.addEventListener("frame", ({ detail }) => frames.push(detail));
      for (let left = LISTEN_S; left > 0; left--) {
        $("songs-found").textContent = `Listening: ${left} s`;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      await capture.stop();
      capture = null;
      await this.recognise(wav(frames), "microphone.wav");
    } catch (error) {
      this.showError(error);
    } finally {
      await capture?.stop();
      button.disabled = false;
    }
  }

  async recognise(file, name) {
    const found = $("songs-found");
    found.textContent = "Searching";
    try {
      const song = await this.client.songs.recognise(file, { name });
      if (!song) {
        found.textContent = "No registered song was recognised.";
        return;
      }
      const { title, artist, album, offset, matches } = song;
      const by = [artist, album].filter(Boolean).join(", ");
      const details = `at ${clock(offset)}, ${matches} matches`;
      found.replaceChildren(make("strong", {}, `♫ ${title}`), by ? ` – ${by}` : "", ` (${details})`);
    } catch (error) {
      found.textContent = "";
      this.showError(error);
    }
  }

  showError(error) {
    $("songs-found").textContent = "";
    if (!this.needsKey(error)) showNotice($("songs-notice"), explain(error), "bad");
  }
}
