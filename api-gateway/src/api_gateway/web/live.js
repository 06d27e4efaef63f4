/** The Live view: from the first screen to the end of a session, and its transcript. */

import { languageName } from "./choices.js";
import { Corrections } from "./corrections.js";
import { $, clock } from "./dom.js";
import { keptSession } from "./kept-session.js";
import { LiveAnalysis } from "./live-analysis.js";
import { LineTools } from "./live-lines.js";
import { LiveOptions } from "./live-options.js";
import { Playback, Recording } from "./live-recording.js";
import { LiveSearch } from "./live-search.js";
import { LiveSound } from "./live-sound.js";
import { LiveSource } from "./live-source.js";
import { LiveSpeakers } from "./live-speakers.js";
import { caughtUp, describe } from "./live-state.js";
import { Takeaway } from "./live-takeaway.js";
import { Notice } from "./notice.js";
import { ShareDialog } from "./share.js";
import { TranscriptView } from "./transcript.js";
import { WakeLock } from "./wake-lock.js";

const DRAW_EVERY_MS = 250;

export class LiveView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.people = new LiveSpeakers(client);
    this.corrections = new Corrections();
    const { speakers } = this.people;
    this.view = new TranscriptView($("live-transcript"), { speakers, corrections: this.corrections, jump: $("live-jump") });
    this.share = new ShareDialog(client);
    this.options = new LiveOptions(this.people.choice);
    this.notice = new Notice($("live-notice"));
    this.analysis = new LiveAnalysis(client, $("live-transcript"), needsKey, speakers);
    this.source = new LiveSource((error) => this.showError(error));
    this.sound = new LiveSound();
    this.wakeLock = new WakeLock();
    this.search = new LiveSearch(this.view);
    this.playback = new Playback(this.view, () => this.finals);
    const say = this.notice.say.bind(this.notice);
    this.lines = new LineTools(this.view, {
      correct: (segment, text) => this.correct(segment, text),
      final: (segment) => this.finals.find((each) => each.segment === segment),
      playback: this.playback,
      say,
    });
    this.takeaway = new Takeaway({ finals: () => this.shownFinals, title: () => this.title, say });
    this.reset();
    this.listenToControls();
    this.refresh();
    this.draw();
    this.resumeAfterReload();
  }

  listenToControls() {
    const buttons = { start: "start", new: "begin", pause: "pauseOrContinue", stop: "stop" };
    for (const [id, name] of Object.entries(buttons)) $(`live-${id}`).addEventListener("click", () => this[name]());
    $("live-title").addEventListener("change", () => this.session?.configure({ title: this.title }));
    $("live-language").addEventListener("change", ({ target }) => this.session?.configure({ language: target.value || null }));
    $("live-translate").addEventListener("change", () => this.session?.configure({ translations: this.options.translate.into }));
    $("live-analyse").addEventListener("change", () => this.draw());
    $("live-share").addEventListener("click", () => this.share.open(this.session));
    addEventListener("pagehide", () => this.keep());
  }

  get title() {
    return $("live-title").value.trim();
  }

  /** Load what the cluster supports: languages, translation, analysis. */
  refresh(failed = this.needsKey) {
    return this.client.cluster().then((cluster) => (this.options.update(cluster), this.draw()), failed);
  }

  /** Another worker may have started. */
  recheck() {
    if (!this.session) this.refresh(() => {});
  }

  /** The finals with names and corrections, as they are shown. */
  get shownFinals() {
    return this.people.voiced(this.corrections.applied(this.finals));
  }

  reset() {
    this.finals = [];
    this.parts = []; // the sessions of this transcript: {id, base}
    this.offset = 0; // seconds of audio in earlier sessions of this transcript
    this.base = 0; // number of their segments
    this.ended = false;
    this.recording = undefined;
    for (const part of [this.corrections, this.view, this.lines, this.sound]) part.clear();
    for (const part of [this.people, this.analysis]) part.reset();
    for (const part of [this.playback, this.search]) part.close();
  }

  /** Back to the first screen. */
  begin() {
    this.reset();
    $("live-title").value = "";
    this.notice.clear();
    this.draw();
    $("live-start").focus();
  }

  // --- from start to stop ----------------------------------------------------------------------------

  async start() {
    if (this.source.opening) return;
    this.reset();
    this.notice.clear();
    try {
      const capture = await this.source.open();
      this.extras = this.options.extras;
      if (this.options.records) this.recording = new Recording();
      this.follow(this.client.live(this.wanted));
      this.listen(capture);
    } catch (error) {
      this.showError(error);
    }
  }

  /** The query of a new session. */
  get wanted() {
    return { language: $("live-language").value, title: this.title, ...this.extras };
  }

  listen(capture) {
    if (!this.session || this.session.ending) return capture.stop(); // Stop was pressed while it was opened
    this.capture = capture;
    let peak = 0;
    capture.addEventListener("level", ({ detail }) => (peak = detail));
    capture.addEventListener("frame", ({ detail }) => {
      if (!this.session) return;
      this.session.send(detail);
      this.recording?.add(detail);
      this.sound.frame(detail, peak);
    });
    capture.addEventListener("ended", () => this.stop());
    this.wakeLock.hold();
    this.draw();
    this.source.listDevices();
  }

  pauseOrContinue() {
    if (!this.session || this.session.ending || this.source.opening) return false;
    if (this.capture) this.pause();
    else this.unpause();
    return true;
  }

  async pause() {
    const { capture } = this;
    this.capture = null;
    this.wakeLock.release();
    await capture.stop();
    this.session?.flush();
    this.sound.level(0);
    this.source.pause();
    this.draw();
  }

  /** Continue after a pause or a reload. */
  async unpause() {
    try {
      if (this.source.playing) throw new Error("A file can't be continued after a pause. Press Stop, then start a new session.");
      this.listen(await this.source.open());
    } catch (error) {
      this.showError(error);
    }
  }

  async stop() {
    const { session, capture } = this;
    if (!session || session.ending) return false;
    this.capture = null;
    this.wakeLock.release();
    this.source.stop();
    this.sound.level(0);
    await capture?.stop();
    session.end().catch(() => {});
    this.draw();
    return true;
  }

  // --- the session ----------------------------------------------------------------------------------

  follow(session) {
    this.session = session;
    this.people.begin(session);
    this.lag = 0;
    this.lost = false;
    this.languageFound({ locked: false });
    session.on("connected", (greeting) => this.connected(greeting));
    session.on("speech_started", ({ segment, start }) => this.speech({ segment, start }));
    session.on("partial", (partial) => this.partial(partial));
    session.on("final", (final) => this.final(final));
    session.on("speakers_revised", (event) => this.people.revised(event, this.base));
    session.on("annotation", (annotation) => this.annotated(annotation));
    session.on("language", (found) => this.languageFound(found));
    session.on("status", (status) => this.status(status));
    session.on("unprotected", () =>
      this.notice.say("The server can't keep up with the sound. If it fails now, some words are lost. A second computer for it helps.", "warn"),
    );
    session.on("state", (state) => this.stateChanged(state));
    session.on("closed", (event) => this.closed(event));
    session.on("failed", (error) => this.failed(error));
    clearInterval(this.timer);
    this.timer = setInterval(() => this.draw(), DRAW_EVERY_MS);
    this.draw();
  }

  connected({ engine, model, received_ms: received = 0 }) {
    $("live-state").title = `Recognised by ${engine} ${model}`;
    const { id } = this.session;
    this.analysis.session = id;
    if (this.parts.at(-1)?.id !== id) this.parts.push({ id, base: this.base });
    if (!this.sound.seconds) this.sound.clear(received / 1000);
    this.keep();
  }

  /** An event with its segment number and times in the whole transcript. */
  positioned(event) {
    return {
      ...event,
      segment: event.segment + this.base,
      start: event.start + this.offset,
      end: event.end + this.offset,
      words: event.words?.map((word) => ({ ...word, start: word.start + this.offset, end: word.end + this.offset })),
      speaker: this.people.labelled(event.speaker),
    };
  }

  speech({ segment, start, end }) {
    const { offset } = this;
    this.sound.speech({ segment: segment + this.base, start: start + offset, end: end === undefined ? end : end + offset });
  }

  partial(partial) {
    $("live-hint").hidden = true;
    this.lag = partial.lag_ms ?? 0;
    this.view.partial(this.positioned(partial));
  }

  final(final) {
    this.lag = 0;
    this.speech(final);
    const shown = this.positioned(final);
    this.view.final(shown);
    this.analysis.mark(shown.segment);
    this.lines.draw();
    if (!final.text) return;
    $("live-hint").hidden = true;
    this.finals.push(shown);
    this.keep();
  }

  /** Show the language that was found beside "Automatic". */
  languageFound({ language, locked }) {
    const [automatic] = $("live-language").options;
    automatic.text = locked ? `Automatic (${languageName(language)})` : "Automatic";
  }

  /** Show a song between the lines, a correction, a name, or what the analysis has found. */
  annotated({ kind, data }) {
    if (kind === "speaker_name") this.people.named(data);
    else if (kind === "correction") this.corrections.annotated({ kind, data }, this.base);
    else if (kind === "song") {
      const { title, artist, start, offset } = data;
      $("live-hint").hidden = true;
      this.view.remark(`♫ ${title}${artist ? ` – ${artist}` : ""} (at ${clock(offset)})`, start + this.offset);
    } else this.analysis.annotated(kind, data, this);
  }

  /** Store a correction of a segment; null shows again what was recognised. */
  async correct(segment, text) {
    const part = this.parts.findLast(({ base }) => base <= segment);
    await this.client.correct(part.id, segment - part.base, text);
    this.corrections.correct(segment, text);
    this.analysis.mark(segment);
  }

  status({ status, ms, reason }) {
    if (status === "lost") this.view.remark(`${(ms / 1000).toFixed(1)} s of sound were lost here (${reason}).`);
  }

  stateChanged(state) {
    if (state === "reconnecting") this.lost = true;
    this.draw();
  }

  closed({ duration, reason }) {
    const unsent = this.session.pending();
    if (reason === "end" || (!unsent.length && !this.capture)) {
      this.finish();
      return;
    }
    // The resume window has passed, and the cluster has closed the session. A new one gets the audio not stored yet.
    this.offset += duration;
    this.base = (this.finals.at(-1)?.segment ?? -1) + 1;
    const capturing = Boolean(this.capture);
    this.follow(this.client.live(this.wanted));
    for (const frame of unsent) this.session.send(frame);
    if (!capturing) this.session.end().catch(() => {});
    this.notice.say("The connection was lost for too long, so a new session was started. Nothing was lost. Share new links.", "warn");
  }

  failed(error) {
    this.capture?.stop();
    this.capture = null;
    this.wakeLock.release();
    this.source.stop();
    this.finish();
    this.showError(error);
  }

  finish() {
    clearInterval(this.timer);
    keptSession.remove();
    this.ended = true;
    this.session = null;
    if (this.recording?.bytes) this.playback.open(this.recording, { title: this.title });
    this.recording = undefined;
    this.draw();
  }

  // --- a reload -------------------------------------------------------------------------------------

  /** Store what is needed to resume after a reload. */
  keep() {
    if (!this.session?.id) return;
    const { title, extras, session, source } = this;
    const { id, resumeToken } = session;
    keptSession.write({ id, resumeToken, title, extras, source: source.kind, listening: Boolean(this.capture) });
  }

  /** Resume the session after a reload: load its finals, and open the microphone if it was open. */
  async resumeAfterReload() {
    const kept = keptSession.read();
    if (!kept) return;
    $("live-title").value = kept.title;
    this.extras = kept.extras ?? {};
    this.follow(this.client.live({ ...this.extras, resume: { ...kept, lastSeq: 0 } }));
    if (!kept.listening || kept.source !== "microphone") return;
    try {
      const permission = await navigator.permissions.query({ name: "microphone" });
      if (permission.state === "granted") this.listen(await this.source.open());
    } catch {
      this.draw(); // the browser can't report the permission; the user presses Continue
    }
  }

  // --- what is shown --------------------------------------------------------------------------------

  draw() {
    const { session, capture, ended } = this;
    this.drawPhase(session ? "live" : ended ? "ended" : "start");
    $("live-start").hidden = this.phase !== "start";
    $("live-new").hidden = this.phase !== "ended";
    $("live-stop").hidden = $("live-pause").hidden = !session || session.ending;
    $("live-pause").textContent = capture ? "Pause" : "Continue";
    $("live-sound").hidden = !session;
    this.source.disable(Boolean(session));
    $("live-share").disabled = !session?.id;
    this.options.disable(Boolean(session));
    const { available, chosen } = this.options.analyse;
    this.analysis.draw({ available, analysing: session ? Boolean(this.extras.analyze) : chosen });
    this.takeaway.enable(this.finals.length > 0);
    this.drawState();
  }

  /** The first screen, the listening one, or the one after the end; the name of the session moves along. */
  drawPhase(phase) {
    if (this.phase === phase) return;
    this.phase = $("view-live").dataset.phase = phase;
    const place = phase === "start" ? $("live-language").closest(".fields") : $("live-title-place");
    place.append($("live-title-label"));
    $("live-hint").hidden = phase !== "live" || this.finals.length > 0;
    this.lines.draw();
  }

  drawState() {
    const { session, capture, ended, lag } = this;
    const [state, text] = describe({ session, capturing: Boolean(capture), ended, lag });
    const element = $("live-state");
    element.dataset.state = state;
    if (element.textContent !== text) element.textContent = text;
    const length = clock(this.sound.seconds);
    if ($("live-clock").textContent !== length) $("live-clock").textContent = length;
    if (this.lost && caughtUp(session)) {
      this.lost = false;
      this.notice.say("Reconnected, nothing lost.");
    }
  }

  showError(error) {
    if (!this.needsKey(error)) this.notice.fail(error);
  }
}
