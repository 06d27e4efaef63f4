/** One file: upload, progress, and the result with a player. Kept in this browser's history. */

import { clock, explain, fileName, make, save } from "./dom.js";
import { bySegment, highlight, highlightWords } from "./entities.js";
import * as history from "./history.js";
import { ResultsPanel } from "./results.js";
import { Speakers } from "./speakers.js";
import { SpeakersPanel, addHead, regroup, showNames } from "./speakers-view.js";
import * as tasks from "./tasks.js";

const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
const ANALYSIS = "entities,topics,sentiment,summary,key_sentences,keywords,questions,actions";
const GONE = "The cluster no longer has this file.";
const STATUS_TEXTS = {
  uploaded: "Waiting",
  processing_audio: "Converting the audio",
  audio_ready: "Waiting for a transcriber",
  transcribing: "Transcribing",
};

/** Dispatches `removed`, and `refused` with an error that applies to all files. */
export class FileCard extends EventTarget {
  constructor(client, entry) {
    super();
    this.client = client;
    this.entry = entry; // {id, name, created, file?, split, analyse, speakers, job?, result?, analysis?, error?}
    this.cancelling = new AbortController();
    this.status = make("p", { className: "small", role: "status" }, "Waiting for upload");
    this.progress = make("progress", { max: 1, value: 0, ariaLabel: `Progress of ${entry.name}` });
    this.cancel = make("button", { type: "button", className: "quiet", ariaLabel: `Cancel ${entry.name}` }, "Cancel");
    this.cancel.addEventListener("click", () => this.remove());
    this.body = make("div");
    const head = make("div", { className: "bar" }, make("h2", {}, entry.name), this.cancel);
    this.element = make("li", {}, head, this.status, this.progress, this.body);
  }

  /** Upload the file, and follow its job. */
  async upload() {
    const { entry } = this;
    if (this.cancelling.signal.aborted) return;
    this.showStatus("Uploading");
    try {
      const job = await this.client.jobs.submit(entry.file, {
        words: true,
        ...(entry.split ? { channels: "split" } : {}),
        ...entry.speakers,
        ...(entry.analyse ? { analyze: ANALYSIS } : {}),
        name: entry.name,
        signal: this.cancelling.signal,
        onprogress: (share) => {
          this.progress.value = share;
          this.showStatus(share < 1 ? `Uploading, ${Math.floor(share * 100)} %` : "Uploaded");
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

  /** Continue with an entry of the history. */
  resume() {
    const { entry } = this;
    if (entry.result) this.show();
    else if (entry.error) this.fail(entry.error);
    else if (entry.job) this.follow();
    else this.fail("The page was closed before the upload finished.");
  }

  async follow() {
    const { entry } = this;
    const { signal } = this.cancelling;
    this.progress.removeAttribute("value");
    this.showStatus(STATUS_TEXTS.uploaded);
    try {
      for await (const event of this.client.jobs.events(entry.job, { signal })) {
        if (event.progress) this.progress.value = event.progress;
        this.showStatus(`${STATUS_TEXTS[event.status] ?? "Done"}, ${Math.floor(event.progress * 100)} %`);
        if (event.type === "failed") throw new Error(event.error.message);
        if (event.type === "cancelled") throw new Error("Cancelled.");
      }
      if (signal.aborted) return;
      entry.result = (await this.client.jobs.get(entry.job)).result;
      await history.keep(entry);
      this.show();
    } catch (error) {
      if (signal.aborted) return;
      entry.error = error.code === "job_not_found" ? GONE : explain(error);
      await history.keep(entry);
      this.fail(entry.error);
    }
  }

  showStatus(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  fail(why) {
    this.progress.hidden = true;
    this.showStatus(`Failed: ${why}`);
    this.cancel.textContent = "Remove";
    this.cancel.ariaLabel = `Remove ${this.entry.name}`;
  }

  async remove() {
    this.cancelling.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    const { job, id } = this.entry;
    await history.forget(id);
    this.dispatchEvent(new Event("removed"));
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
    this.showStatus(`${clock(result.duration)} of audio${language}`);
    const words = this.words(result);
    const panel = this.people(result, words);
    const details = make("details", {}, make("summary", {}, summary(result)), ...this.player(words), panel, words);
    this.body.replaceChildren(details, this.downloads());
    if (entry.analyse) this.analyse(details, words);
  }

  // --- the speakers ----------------------------------------------------------------------------------

  /** The list of the speakers. Their turns are grouped in `words`. */
  people({ segments }, words) {
    const { jobs } = this.client;
    const { entry } = this;
    const speakers = new Speakers();
    const panel = new SpeakersPanel(speakers, { rename: (label, name) => jobs.nameSpeaker(entry.job, label, name) });
    for (const [segment, each] of segments.entries()) speakers.say({ ...each, segment });
    const names = segments.filter((each) => each.speaker_name).map((each) => [each.speaker, each.speaker_name]);
    speakers.setNames(Object.fromEntries(names));
    const show = () => {
      regroup(words.children, speakers);
      showNames(this.body, speakers);
    };
    speakers.addEventListener("changed", () => {
      show();
      if (this.cancelling.signal.aborted) return; // the file was removed
      for (const each of segments) each.speaker_name = speakers.names.get(each.speaker);
      history.keep(entry);
    });
    show();
    if (speakers.labels.size) jobs.speakerNames(entry.job).then((found) => speakers.setNames(found), () => {}); // it may have expired
    this.speakers = speakers;
    return panel.element;
  }

  // --- the analysis ---------------------------------------------------------------------------------

  /** Show the results of the analysis in `details`, after the `words`; they come after the transcript. */
  async analyse(details, words) {
    const { entry } = this;
    const panel = new ResultsPanel({ play: (start, segment) => this.play(start, segment), label: `Analysis of ${entry.name}` });
    const state = make("p", { className: "small", role: "status" }, entry.analysis ? "" : "Analysing");
    panel.element.hidden = true;
    words.after(state, panel.element);
    entry.analysis ??= await this.analysed((analysis) => this.showAnalysis(panel, analysis));
    if (this.cancelling.signal.aborted) return;
    await history.keep(entry);
    const { error } = entry.analysis;
    state.textContent = error ? `The analysis failed: ${error}` : "";
    state.hidden = !error;
    this.showAnalysis(panel, entry.analysis);
  }

  /** Follow the job's analysis to its end. Resolves with its `results` and numbered `segments`, and `error` if it failed. */
  async analysed(onprogress) {
    const { signal } = this.cancelling;
    const results = {};
    let segments = [];
    try {
      for await (const { step, message, partial_result: found } of this.client.analysis.updates(this.entry.job, { signal })) {
        if (step === "completed") return { results: found.results, segments };
        if (tasks.ends({ step })) return { error: message, results, segments };
        if (step === "transcription_complete") ({ segments } = found);
        else if (step === "ner_complete") results.entities = found;
        else if (step.endsWith("_complete")) Object.assign(results, found);
        onprogress({ results, segments });
      }
    } catch (error) {
      return { error: error.code === "job_not_found" ? GONE : explain(error), results, segments };
    }
    return { results, segments };
  }

  showAnalysis(panel, { results, segments }) {
    // the job's result doesn't number its segments as the analysis does
    const numbers = new Map(segments.map((each) => [keyOf(each), each.segment]));
    for (const line of this.lines) line.segment = numbers.get(line.key);
    panel.update(Object.fromEntries(Object.entries(results).filter(([, each]) => each?.status)));
    showNames(panel.element, this.speakers);
    if (this.highlighted || results.entities?.status !== "done") return;
    this.highlighted = true;
    const found = bySegment(results.entities.entities);
    for (const { segment, text, line, buttons } of this.lines) {
      const entities = found.get(segment) ?? [];
      if (buttons.length) highlightWords(text, buttons, entities);
      else highlight(line, entities);
    }
  }

  /** Play from a sentence, or without a player go to it. */
  play(start, segment) {
    this.lines.find((line) => line.segment === segment)?.line.scrollIntoView({ block: "center" });
    if (!this.audio || this.audio.hidden) return;
    this.audio.currentTime = start;
    this.audio.play().catch(() => {});
    this.mark(start);
  }

  // --- the player -----------------------------------------------------------------------------------

  player(words) {
    const { file, name } = this.entry;
    if (!file) return [make("p", { className: "small" }, "This browser has no copy of the audio, so it can't be played.")];
    this.url = URL.createObjectURL(file);
    const audio = make("audio", { controls: true, preload: "metadata", src: this.url, ariaLabel: `Audio of ${name}` });
    const unplayable = make("p", { className: "small", hidden: true }, "This browser can't play this audio format.");
    this.audio = audio;
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

  /** The words as buttons. Only one of them has a Tab stop; the arrow keys move to the others. */
  words({ segments }) {
    this.buttons = [];
    this.lines = []; // {key, segment?, text, line, buttons}
    const root = make("div", { className: "words", role: "group", ariaLabel: "Words; arrow keys move, Enter plays from a word" });
    for (const [segment, { start, text, words, speaker }] of segments.entries()) {
      const line = make("span");
      const buttons = [];
      for (const word of words ?? []) {
        const button = make("button", { type: "button", tabIndex: -1, dataset: { start: word.start, end: word.end } });
        button.textContent = word.word;
        buttons.push(button);
        line.append(button, " ");
      }
      if (!words?.length) line.append(text);
      this.buttons.push(...buttons);
      this.lines.push({ key: keyOf({ start, speaker, text }), text, line, buttons });
      root.append(addHead(make("p", { dataset: { segment } }, make("time", {}, clock(start)), line)));
    }
    if (this.buttons.length) this.buttons[0].tabIndex = 0;
    root.addEventListener("keydown", (event) => this.moveFocus(event));
    root.addEventListener("focusin", ({ target }) => this.setTabStop(target));
    return root;
  }

  moveFocus(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    const here = this.buttons.indexOf(event.target);
    const next = this.buttons[here + steps[event.key]];
    if (here < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  /** Move the Tab stop to `button`. */
  setTabStop(button) {
    for (const each of this.buttons) if (each.tabIndex === 0) each.tabIndex = -1;
    button.tabIndex = 0;
  }

  /** Mark the word that is spoken at `time`, in seconds. */
  mark(time) {
    const current = this.buttons.findLast(({ dataset }) => Number(dataset.start) <= time + 0.02);
    if (current === this.current) return;
    this.current?.classList.remove("now");
    this.current?.removeAttribute("aria-current");
    current?.classList.add("now");
    current?.setAttribute("aria-current", "true");
    this.current = current;
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
      this.showStatus(`Download failed: ${explain(error)}`);
    }
  }
}

const keyOf = ({ start, speaker = "", text }) => JSON.stringify([start, speaker ?? "", text]);

function summary({ text }) {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text || "No speech was detected.";
}
