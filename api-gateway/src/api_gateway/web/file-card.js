/** One file: upload, decoding, result beside a player; kept in the history of this browser. */

import { clock, explain, fileName, make, save } from "./dom.js";
import * as history from "./history.js";

const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
const WORDS = {
  uploaded: "Waiting its turn",
  processing_audio: "Reading the sound",
  audio_ready: "Waiting for the recogniser",
  transcribing: "Transcribing",
};

/** Dispatches `gone` when it was removed, and `refused` with an error that concerns all files. */
export class FileCard extends EventTarget {
  constructor(client, entry) {
    super();
    this.client = client;
    this.entry = entry; // {id, name, created, file?, split, job?, result?, error?}
    this.cancelling = new AbortController();
    this.said = make("p", { className: "small", role: "status" }, "Waiting to be sent");
    this.progress = make("progress", { max: 1, value: 0, ariaLabel: `Progress of ${entry.name}` });
    this.cancel = make("button", { type: "button", className: "quiet", ariaLabel: `Cancel ${entry.name}` }, "Cancel");
    this.cancel.addEventListener("click", () => this.remove());
    this.body = make("div");
    const head = make("div", { className: "bar" }, make("h2", {}, entry.name), this.cancel);
    this.element = make("li", {}, head, this.said, this.progress, this.body);
  }

  /** Send the file, and follow its job. */
  async upload() {
    const { entry } = this;
    if (this.cancelling.signal.aborted) return;
    this.say("Sending");
    try {
      const job = await this.client.jobs.submit(entry.file, {
        words: true,
        ...(entry.split ? { channels: "split" } : {}),
        name: entry.name,
        signal: this.cancelling.signal,
        onprogress: (share) => {
          this.progress.value = share;
          this.say(share < 1 ? `Sending, ${Math.floor(share * 100)} %` : "Sent");
        },
      });
      entry.job = job.job_id;
      await history.keep(entry);
      this.follow();
    } catch (error) {
      if (error.code === "aborted") return;
      this.fail(explain(error));
      if (error.code === "not_allowed") this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    }
  }

  /** Take up an entry of the history where it was left. */
  resume() {
    const { entry } = this;
    if (entry.result) this.show();
    else if (entry.error) this.fail(entry.error);
    else if (entry.job) this.follow();
    else this.fail("The page was closed before it was sent.");
  }

  async follow() {
    const { entry } = this;
    const { signal } = this.cancelling;
    this.progress.removeAttribute("value");
    this.say(WORDS.uploaded);
    try {
      for await (const event of this.client.jobs.events(entry.job, { signal })) {
        if (event.progress) this.progress.value = event.progress;
        this.say(`${WORDS[event.status] ?? "Done"}, ${Math.floor(event.progress * 100)} %`);
        if (event.type === "failed") throw new Error(event.error.message);
        if (event.type === "cancelled") throw new Error("It was cancelled.");
      }
      if (signal.aborted) return;
      entry.result = (await this.client.jobs.get(entry.job)).result;
      await history.keep(entry);
      this.show();
    } catch (error) {
      if (signal.aborted) return;
      entry.error = error.code === "job_not_found" ? "The cluster has forgotten this file." : explain(error);
      await history.keep(entry);
      this.fail(entry.error);
    }
  }

  say(text) {
    if (this.said.textContent !== text) this.said.textContent = text;
  }

  fail(why) {
    this.progress.hidden = true;
    this.say(`Failed: ${why}`);
    this.cancel.textContent = "Remove";
    this.cancel.ariaLabel = `Remove ${this.entry.name}`;
  }

  async remove() {
    this.cancelling.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    const { job, id } = this.entry;
    await history.forget(id);
    this.dispatchEvent(new Event("gone"));
    if (job) await this.client.jobs.cancel(job).catch(() => {}); // it may have expired
  }

  // --- the result -----------------------------------------------------------------------------------

  show() {
    const { entry } = this;
    const { result } = entry;
    this.progress.hidden = true;
    this.cancel.textContent = "Remove";
    this.cancel.ariaLabel = `Remove ${entry.name}`;
    const language = result.language ? `, ${result.language}` : "";
    this.say(`${clock(result.duration)} of sound${language}`);
    const words = this.words(result);
    const details = make("details", {}, make("summary", {}, summary(result)), ...this.player(words), words);
    this.body.replaceChildren(details, this.downloads());
  }

  player(words) {
    const { file, name } = this.entry;
    if (!file) return [make("p", { className: "small" }, "The sound of this file isn't kept in this browser.")];
    this.url = URL.createObjectURL(file);
    const audio = make("audio", { controls: true, preload: "metadata", src: this.url, ariaLabel: `Sound of ${name}` });
    const unplayable = make("p", { className: "small", hidden: true }, "This browser can't play files of this kind.");
    audio.addEventListener("error", () => {
      unplayable.hidden = false;
      audio.hidden = true;
    });
    audio.addEventListener("timeupdate", () => this.mark(audio.currentTime));
    words.addEventListener("click", ({ target }) => {
      if (target.dataset?.start === undefined) return;
      audio.currentTime = Number(target.dataset.start);
      audio.play().catch(() => {});
      this.mark(audio.currentTime);
    });
    return [audio, unplayable];
  }

  /** The words as buttons. One of them is in the order of Tab; arrow keys go to the others. */
  words({ segments }) {
    this.buttons = [];
    const root = make("div", { className: "words", role: "group", ariaLabel: "Words; arrow keys move, Enter plays" });
    for (const { start, text, words, speaker } of segments) {
      const line = make("span");
      if (speaker) line.append(make("strong", {}, `${speaker}: `));
      for (const word of words ?? []) {
        const button = make("button", { type: "button", tabIndex: -1, dataset: { start: word.start, end: word.end } });
        button.textContent = word.word;
        this.buttons.push(button);
        line.append(button, " ");
      }
      if (!words?.length) line.append(text);
      root.append(make("p", {}, make("time", {}, clock(start)), line));
    }
    if (this.buttons.length) this.buttons[0].tabIndex = 0;
    root.addEventListener("keydown", (event) => this.move(event));
    root.addEventListener("focusin", ({ target }) => this.reach(target));
    return root;
  }

  move(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    const here = this.buttons.indexOf(event.target);
    const next = this.buttons[here + steps[event.key]];
    if (here < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  reach(button) {
    for (const each of this.buttons) if (each.tabIndex === 0) each.tabIndex = -1;
    button.tabIndex = 0;
  }

  /** Mark the word that is being said. */
  mark(time) {
    const now = this.buttons.findLast(({ dataset }) => Number(dataset.start) <= time + 0.02);
    if (now === this.now) return;
    this.now?.classList.remove("now");
    this.now?.removeAttribute("aria-current");
    now?.classList.add("now");
    now?.setAttribute("aria-current", "true");
    this.now = now;
  }

  downloads() {
    const group = make("div", { className: "group", role: "group", ariaLabel: `Download ${this.entry.name}` });
    for (const ending of Object.keys(TYPES)) {
      const button = make("button", { type: "button", className: "quiet" }, ending.toUpperCase());
      button.addEventListener("click", () => this.download(ending));
      group.append(button);
    }
    return group;
  }

  async download(ending) {
    const { name, job, result } = this.entry;
    const stem = name.replace(/\.[^.]+$/, "");
    try {
      const text =
        ending === "json"
          ? JSON.stringify(result, null, 2)
          : await this.client.jobs.result(job, ending === "txt" ? "text" : ending);
      save(fileName(stem, ending), text, TYPES[ending]);
    } catch (error) {
      this.say(`It can't be downloaded: ${explain(error)}`);
    }
  }
}

function summary({ text }) {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text || "Nothing was said.";
}
