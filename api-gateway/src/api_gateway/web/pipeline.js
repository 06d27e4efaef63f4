/** The Pipeline view: one file through all steps of an analysis, each shown as it happens. */

import { SpeakersChoice, languageName, languageOptions, offerLanguages } from "./choices.js";
import { $, clock, explain, make, showNotice } from "./dom.js";
import { bySegment, highlight } from "./entities.js";
import { ResultsPanel } from "./results.js";
import { Speakers } from "./speakers.js";
import { SpeakersPanel, addHead, regroup, showNames } from "./speakers-view.js";
import { StepList } from "./step-list.js";
import * as tasks from "./tasks.js";

const TARGETS = ["en", "ar", "cs", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "zh"];
const GONE = "The cluster has no task with this address. Tasks are deleted after a day.";

export class PipelineView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.steps = new StepList($("pipeline-steps"));
    this.choice = new SpeakersChoice("pipeline");
    this.speakers = new Speakers();
    const rename = (label, name) => client.jobs.nameSpeaker(this.task, label, name);
    $("pipeline-speakers").replaceChildren(new SpeakersPanel(this.speakers, { rename }).element);
    this.speakers.addEventListener("changed", () => this.showSpeakers());
    $("pipeline-target").replaceChildren(...languageOptions(TARGETS));
    $("pipeline-target").value = "en";
    $("pipeline-translate").addEventListener("change", () => this.showTarget());
    $("pipeline-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    $("pipeline-cancel").addEventListener("click", () => this.cancel());
    this.showTarget();
  }

  /** `rest`: the part of the address after the view's name, a task's id. */
  shown(visible, rest) {
    if (!visible) return;
    this.refresh();
    if (rest && rest !== this.task) this.open(rest);
  }

  async refresh() {
    try {
      const { languages, analyzers = [] } = await this.client.cluster();
      offerLanguages($("pipeline-language"), languages);
      if (!analyzers.length) this.notify("No analyzer is running, so files can't be analysed now.", "warn");
      else if ($("pipeline-notice").dataset.kind === "warn") this.notify("");
      if (this.refused) this.open(this.task);
    } catch (error) {
      this.needsKey(error);
    }
  }

  showTarget() {
    $("pipeline-target-label").hidden = !$("pipeline-translate").checked;
  }

  // --- a task ---------------------------------------------------------------------------------------

  async start() {
    const [file] = $("pipeline-file").files;
    if (!file) {
      this.notify("Choose a file first.", "bad");
      return;
    }
    const signal = this.reset(file.name);
    this.showState("connecting", "Uploading");
    const translated = $("pipeline-translate").checked;
    const fields = {
      include_translation: translated,
      include_insights: $("pipeline-insights").checked,
      ...this.choice.fields,
      ...(translated ? { target_language: $("pipeline-target").value } : {}),
    };
    if ($("pipeline-language").value) fields.language = $("pipeline-language").value;
    try {
      const onprogress = (share) => this.showState("connecting", `Uploading, ${Math.floor(share * 100)} %`);
      const task = await tasks.submit(this.client, file, fields, { signal, onprogress });
      if (signal.aborted) return;
      this.task = task;
      location.hash = `#pipeline/${task}`;
      await this.follow(task, signal);
    } catch (error) {
      this.failed(error, signal);
    }
  }

  /** Show a task that runs or has ended. */
  async open(task) {
    const signal = this.reset("");
    this.task = task;
    this.showState("connecting", "Loading");
    try {
      await this.follow(task, signal);
    } catch (error) {
      this.failed(error, signal);
    }
  }

  async follow(task, signal) {
    const { filename, steps, target_language, message } = await this.client.analysis.task(task);
    $("pipeline-name").textContent = filename ?? "File";
    $("pipeline-translation-title").textContent = `Translation (${languageName(target_language)})`;
    this.steps.choose(steps);
    this.showState("open", message);
    for await (const update of this.client.analysis.updates(task, { signal })) {
      if (signal.aborted) return;
      this.update(update);
    }
  }

  /** Forget the task on the page. Returns the signal that ends what is shown of the next one. */
  reset(name) {
    this.controller?.abort();
    this.controller = new AbortController();
    this.task = null;
    this.refused = false;
    this.results = {};
    this.segments = new Map(); // number → its element
    this.speakers.clear();
    this.notify("");
    $("pipeline-task").hidden = false;
    $("pipeline-name").textContent = name;
    $("pipeline-progress").hidden = $("pipeline-cancel").hidden = false;
    $("pipeline-progress").value = 0;
    $("pipeline-transcript-part").hidden = $("pipeline-translation-part").hidden = true;
    $("pipeline-transcript").replaceChildren();
    $("pipeline-translation").replaceChildren();
    this.panel = new ResultsPanel({ play: (start, segment) => this.goTo(segment), reasons: false, label: "Results" });
    this.panel.element.hidden = true;
    $("pipeline-results").replaceChildren(this.panel.element);
    this.steps.reset();
    return this.controller.signal;
  }

  update(update) {
    const { step, progress, message, partial_result: result } = update;
    this.steps.update(update);
    $("pipeline-progress").value = progress;
    this.showState(step === "failed" ? "failed" : tasks.ends(update) ? "idle" : "open", message);
    if (result) this.found(step, result);
    if (tasks.ends(update)) this.end();
  }

  end() {
    $("pipeline-progress").hidden = $("pipeline-cancel").hidden = true;
  }

  failed(error, signal) {
    if (signal.aborted) return;
    this.end();
    const missing = [404, 422].includes(error.status) && this.task;
    this.showState("failed", missing ? "Not found" : "Failed");
    this.refused = this.needsKey(error);
    if (!this.refused) this.notify(missing ? GONE : explain(error), "bad");
  }

  async cancel() {
    const { task } = this;
    this.controller.abort();
    this.end();
    this.steps.end("cancelled", "Cancelled");
    this.showState("idle", "Cancelled");
    if (!task) return; // it wasn't uploaded yet
    try {
      await this.client.analysis.cancel(task);
    } catch (error) {
      if (!this.needsKey(error)) this.notify(explain(error), "bad");
    }
  }

  // --- results --------------------------------------------------------------------------------------

  found(step, result) {
    switch (step) {
      case "transcription":
        this.showText("transcript", result.transcript, result.skipped_characters);
        return;
      case "translation":
        this.showText("translation", result.translation);
        return;
      case "completed":
        this.results = result.results;
        if (!this.segments.size) this.showTranscript(result);
        break;
      case "transcription_complete":
        this.showTranscript(result);
        return;
      case "translation_complete":
        this.results.translation = result;
        break;
      case "ner_complete":
        this.results.entities = result;
        break;
      default:
        if (!step.endsWith("_complete")) return; // a partial result of a short step
        Object.assign(this.results, result);
    }
    this.showResults();
  }

  showResults() {
    const { translation, entities, ...others } = Object.fromEntries(
      Object.entries(this.results).filter(([, each]) => each?.status === "done"),
    );
    if (translation) this.showTranslation(translation);
    if (entities) this.showEntities(entities);
    this.panel.update({ ...others, ...(entities ? { entities } : {}) });
    showNames($("pipeline-results"), this.speakers);
  }

  /** Show a text that still grows. */
  showText(name, text, skipped) {
    if (!text) return;
    $(`pipeline-${name}-part`).hidden = false;
    $(`pipeline-${name}`).replaceChildren(make("p", { className: "growing" }, `${skipped ? "… " : ""}${text}`));
  }

  showTranscript({ segments, language, duration }) {
    this.segments.clear();
    const lines = segments.map(({ segment, start, text }) => {
      const words = make("span", {}, text);
      this.segments.set(segment, words);
      return addHead(make("p", { tabIndex: -1, dataset: { segment } }, make("time", {}, clock(start)), words));
    });
    $("pipeline-transcript").replaceChildren(...(lines.length ? lines : [make("p", {}, "No speech was detected.")]));
    for (const each of segments) this.speakers.say(each);
    this.loadNames();
    $("pipeline-transcript-part").hidden = false;
    const spoken = language ? `, ${languageName(language)}` : "";
    $("pipeline-about").textContent = `${clock(duration)} of audio${spoken}`;
  }

  /** Show the names that the speakers were given; they aren't in the task's updates. */
  async loadNames() {
    this.showSpeakers();
    const { task, speakers } = this;
    if (!speakers.labels.size) return;
    const names = await this.client.jobs.speakerNames(task).catch(() => null); // it may have expired
    if (names && task === this.task) speakers.setNames(names);
  }

  showSpeakers() {
    regroup($("pipeline-transcript").children, this.speakers);
    showNames($("pipeline-results"), this.speakers);
  }

  showEntities({ entities }) {
    for (const [segment, found] of bySegment(entities)) {
      const words = this.segments.get(segment);
      if (words) highlight(words, found);
    }
  }

  showTranslation({ segments, translation }) {
    const lines = (segments ?? [{ text: translation }]).map(({ text }) => make("p", { className: "growing" }, text));
    $("pipeline-translation").replaceChildren(...lines);
    $("pipeline-translation-part").hidden = false;
  }

  goTo(segment) {
    const line = this.segments.get(segment)?.closest("p");
    line?.scrollIntoView({ block: "center" });
    line?.focus({ preventScroll: true });
  }

  showState(state, text) {
    const element = $("pipeline-state");
    element.dataset.state = state;
    if (element.textContent !== text) element.textContent = text;
  }

  notify(text, kind) {
    showNotice($("pipeline-notice"), text, kind);
  }
}
