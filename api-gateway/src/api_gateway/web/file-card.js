/** One file: upload, progress, and the result with a player. Kept in this browser's history. */

import { clock, explain, make } from "./dom.js";
import { bySegment, highlight, highlightWords } from "./entities.js";
import { FilePlayer } from "./file-player.js";
import { leftText } from "./file-queue.js";
import { FileWords, keyOf } from "./file-words.js";
import { FindReplace } from "./find-replace.js";
import * as history from "./history.js";
import { corrected } from "./replacements.js";
import { ResultsPanel } from "./results.js";
import { Speakers } from "./speakers.js";
import { SpeakersPanel, regroup, showNames } from "./speakers-view.js";
import * as tasks from "./tasks.js";

const ANALYSIS = "entities,topics,sentiment,summary,key_sentences,keywords,questions,actions";
const GONE = "The cluster no longer has this file. Add it again.";
const STATUS_TEXTS = {
  uploaded: "Waiting",
  processing_audio: "Converting the audio",
  audio_ready: "Waiting for a transcriber",
  transcribing: "Transcribing",
};

/**
 * Dispatches `progress` when `work` has changed, `removed`, `export` with {name, transcript} in `detail`, and `refused` with an error
 * that applies to all files.
 */
export class FileCard extends EventTarget {
  /** `jobs`: the `JobProgress` of the page; `analyses(action)`: runs an action when few others are running. */
  constructor(client, entry, { jobs, analyses }) {
    super();
    this.client = client;
    this.jobs = jobs;
    this.analyses = analyses;
    this.entry = entry; // {id, name, created, file?, split, analyse, speakers, job?, result?, replacements?, bars?, analysis?, error?}
    this.work = { size: entry.file?.size ?? 0, uploaded: 0, transcribed: 0, state: "waiting" };
    this.cancelling = new AbortController();
    this.status = make("p", { className: "small", role: "status" }, "Waiting for upload");
    this.progress = make("progress", { max: 1, value: 0, ariaLabel: `Progress of ${entry.name}` });
    this.cancel = make("button", { type: "button", className: "quiet", ariaLabel: `Cancel ${entry.name}` }, "Cancel");
    this.cancel.addEventListener("click", () => this.remove());
    this.body = make("div");
    const head = make("div", { className: "bar" }, make("h2", {}, entry.name), this.cancel);
    this.element = make("li", {}, head, this.status, this.progress, this.body);
  }

  /** Upload the file, and follow its job. Resolves when it is uploaded. */
  async upload() {
    const { entry } = this;
    if (this.cancelling.signal.aborted) return;
    this.showStatus("Uploading");
    this.changed({ state: "uploading" });
    const begun = performance.now();
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
          const left = leftText((((performance.now() - begun) / 1000) * (1 - share)) / share);
          this.showStatus(share < 1 ? joined("Uploading", `${Math.floor(share * 100)} %`, left) : "Uploaded");
          this.changed({ uploaded: share });
        },
      });
      entry.job = job.job_id;
      await this.keep();
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
    else this.fail("The page was closed before the upload finished. Add the file again.");
  }

  async follow() {
    const { entry } = this;
    const { signal } = this.cancelling;
    this.progress.removeAttribute("value");
    this.showStatus(STATUS_TEXTS.uploaded);
    this.changed({ uploaded: 1, state: "transcribing" });
    try {
      await this.jobs.follow(entry.job, { signal, onchange: (job) => this.showJob(job) });
      if (signal.aborted) return;
      entry.result = (await this.client.jobs.get(entry.job)).result;
      await this.keep();
      this.show();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TypeError) return this.follow(); // the connection was lost just now
      entry.error = error.code === "job_not_found" ? GONE : explain(error);
      await this.keep();
      this.fail(entry.error);
    }
  }

  /** Show a job's status; undefined: the cluster doesn't answer. */
  showJob(job) {
    if (!job) return this.showStatus("Waiting for the cluster, which can't be reached");
    if (job.progress) this.progress.value = job.progress;
    this.showStatus(joined(STATUS_TEXTS[job.status] ?? "Done", `${Math.floor(job.progress * 100)} %`, leftText(job.eta_s)));
    this.changed({ transcribed: job.progress });
  }

  changed(work) {
    Object.assign(this.work, work);
    this.dispatchEvent(new Event("progress"));
  }

  showStatus(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  ended(state) {
    this.progress.hidden = true;
    this.cancel.textContent = "Remove";
    this.cancel.ariaLabel = `Remove ${this.entry.name}`;
    this.changed({ state });
  }

  fail(why) {
    this.showStatus(`Failed: ${why}`);
    this.ended("failed");
  }

  async remove() {
    this.cancelling.abort();
    this.player?.close();
    const { job, id } = this.entry;
    await history.forget(id);
    this.changed({ state: "removed" });
    this.dispatchEvent(new Event("removed"));
    if (job) await this.client.jobs.cancel(job).catch(() => {}); // it may have expired
  }

  // --- the result -----------------------------------------------------------------------------------

  /** Show the result; its words are built when it is opened, because there may be many files. */
  show() {
    const { entry } = this;
    const { result } = entry;
    this.ended("done");
    const language = result.language ? `, ${result.language}` : "";
    this.showStatus(`${clock(result.duration)} of audio${language}`);
    entry.replacements ??= [];
    this.summary = make("summary");
    this.details = make("details", {}, this.summary);
    this.details.addEventListener("toggle", () => this.details.open && this.build());
    this.body.replaceChildren(this.details, this.actions());
    this.drawSummary();
    if (entry.analyse && !entry.analysis) this.build();
  }

  /** The segments as they are shown and exported: with the corrections of this browser. */
  get segments() {
    return corrected(this.entry.result.segments, this.entry.replacements);
  }

  drawSummary() {
    const text = this.segments.map(({ text }) => text).join(" ");
    this.summary.textContent = text.length > 120 ? `${text.slice(0, 120)}…` : text || "No speech was detected.";
  }

  build() {
    if (this.words) return;
    const { entry } = this;
    this.words = new FileWords();
    this.words.show(this.segments, entry.result.segments);
    const panel = this.people(entry.result);
    this.details.append(this.playerElement(), panel, this.words.element);
    if (entry.analyse) this.analyse();
  }

  playerElement() {
    const { entry } = this;
    if (!entry.file) return make("p", { className: "small" }, "This browser has no copy of the audio, so it can't be played.");
    this.player = new FilePlayer(entry, this.words);
    this.player.addEventListener("bars", ({ detail }) => {
      entry.bars = detail;
      this.keep();
    });
    return this.player.element;
  }

  /** Store the entry in the history, unless the file was removed. */
  async keep() {
    if (!this.cancelling.signal.aborted) await history.keep(this.entry);
  }

  // --- corrections and export ------------------------------------------------------------------------

  actions() {
    const { entry } = this;
    const button = (text, ariaLabel) => make("button", { type: "button", className: "quiet", ariaLabel }, text);
    const find = button("Find and replace", `Find and replace in ${entry.name}`);
    const out = button("Export", `Export ${entry.name}`);
    const panel = new FindReplace(entry.name, entry.replacements, () => this.segments);
    panel.addEventListener("changed", () => this.correct());
    find.ariaExpanded = "false";
    find.addEventListener("click", () => {
      panel.element.hidden = !panel.element.hidden;
      find.ariaExpanded = String(!panel.element.hidden);
      if (!panel.element.hidden) panel.find.focus();
    });
    out.addEventListener("click", () => this.export());
    return make("div", {}, make("div", { className: "bar" }, find, out), panel.element);
  }

  /** The list of replacements has changed. */
  correct() {
    this.keep();
    this.drawSummary();
    if (!this.words) return;
    this.words.show(this.segments, this.entry.result.segments);
    regroup(this.words.element.children, this.speakers);
    this.highlighted = false;
    if (this.panel) this.showAnalysis(this.entry.analysis ?? { results: {}, segments: [] });
  }

  export() {
    this.build(); // it asks for the names of the speakers
    const { name, result } = this.entry;
    const stem = name.split("/").pop().replace(/\.[^.]+$/, "");
    const transcript = { title: stem, language: result.language, segments: this.segments };
    this.dispatchEvent(new CustomEvent("export", { detail: { name: stem, transcript } }));
  }

  // --- the speakers ----------------------------------------------------------------------------------

  /** The list of the speakers. Their turns are grouped in the words. */
  people({ segments }) {
    const { jobs } = this.client;
    const { entry } = this;
    const speakers = new Speakers();
    const panel = new SpeakersPanel(speakers, { rename: (label, name) => jobs.nameSpeaker(entry.job, label, name) });
    for (const [segment, each] of segments.entries()) speakers.say({ ...each, segment });
    const named = segments.filter((each) => each.speaker_name && each.speaker_score === undefined);
    const names = named.map((each) => [each.speaker, each.speaker_name]);
    speakers.setNames(Object.fromEntries(names));
    const show = () => {
      regroup(this.words.element.children, speakers);
      showNames(this.details, speakers);
    };
    speakers.addEventListener("changed", () => {
      show();
      if (this.cancelling.signal.aborted) return; // the file was removed
      for (const each of segments) {
        each.speaker_name = speakers.givenTo(each.speaker);
        if (speakers.names.has(each.speaker)) delete each.speaker_score;
        else each.speaker_score = speakers.recognised.get(each.speaker)?.score;
      }
      this.keep();
    });
    show();
    if (speakers.labels.size) jobs.speakerNames(entry.job).then((found) => speakers.setNames(found), () => {}); // it may have expired
    this.speakers = speakers;
    return panel.element;
  }

  // --- the analysis ---------------------------------------------------------------------------------

  /** Show the results of the analysis after the words; they come after the transcript. */
  async analyse() {
    const { entry } = this;
    const panel = new ResultsPanel({ play: (start, segment) => this.play(start, segment), label: `Analysis of ${entry.name}` });
    const state = make("p", { className: "small", role: "status" }, entry.analysis ? "" : "Analysing");
    panel.element.hidden = true;
    this.panel = panel;
    this.words.element.after(state, panel.element);
    entry.analysis ??= await this.analyses(() => this.analysed((analysis) => this.showAnalysis(analysis)));
    if (this.cancelling.signal.aborted) return;
    await this.keep();
    const { error } = entry.analysis;
    state.textContent = error ? `The analysis failed: ${error}` : "";
    state.hidden = !error;
    this.showAnalysis(entry.analysis);
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

  showAnalysis({ results, segments }) {
    const { panel } = this;
    // the job's result doesn't number its segments as the analysis does
    const numbers = new Map(segments.map((each) => [keyOf(each), each.segment]));
    for (const line of this.words.lines) line.segment = numbers.get(line.key);
    panel.update(Object.fromEntries(Object.entries(results).filter(([, each]) => each?.status)));
    showNames(panel.element, this.speakers);
    if (this.highlighted || results.entities?.status !== "done") return;
    this.highlighted = true;
    const found = bySegment(results.entities.entities);
    for (const { segment, text, line, buttons } of this.words.lines) {
      const entities = found.get(segment) ?? [];
      if (buttons.length) highlightWords(text, buttons, entities);
      else highlight(line, entities);
    }
  }

  /** Play from a sentence, or without a player go to it. */
  play(start, segment) {
    this.words.goTo(segment);
    this.player?.play(start);
  }
}

const joined = (...parts) => parts.filter(Boolean).join(", ");
