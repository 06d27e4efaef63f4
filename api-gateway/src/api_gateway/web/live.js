/** The Live view: the audio source, the session, its transcript, and downloads. */

import { AnalyseChoice, languageName, languageOptions } from "./choices.js";
import { $, clock, explain, fileName, save, showNotice } from "./dom.js";
import { FORMATS, plain } from "./formats.js";
import { LIVE_STEPS, LiveAnalysis } from "./live-analysis.js";
import { LiveSpeakers } from "./live-speakers.js";
import { Capture } from "./parlando.js";
import { ShareDialog } from "./share.js";
import { TranscriptView } from "./transcript.js";

const STORAGE_KEY = "parlando.live"; // in the tab's session storage, to resume after a reload
const LATE_MS = 1500; // a larger delay is shown
const DRAW_EVERY_MS = 250;
const NOTICE_MS = 8000;

export class LiveView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.people = new LiveSpeakers(client);
    this.view = new TranscriptView($("live-transcript"), { speakers: this.people.speakers });
    this.share = new ShareDialog(client);
    this.analyse = new AnalyseChoice("live-analyse");
    this.analysis = new LiveAnalysis(client, $("live-transcript"), needsKey, this.people.speakers);
    this.reset();
    $("live-start").addEventListener("click", () => this.start());
    $("live-pause").addEventListener("click", () => (this.capture ? this.pause() : this.unpause()));
    $("live-stop").addEventListener("click", () => this.stop());
    $("live-source").addEventListener("change", () => this.showSource());
    $("live-title").addEventListener("change", () => this.session?.configure({ title: this.title }));
    $("live-language").addEventListener("change", ({ target }) => this.session?.configure({ language: target.value || null }));
    $("live-analyse").addEventListener("change", () => this.draw());
    $("live-copy").addEventListener("click", () => this.copy());
    $("live-share").addEventListener("click", () => this.share.open(this.session));
    for (const button of document.querySelectorAll("[data-download]")) {
      button.addEventListener("click", () => this.download(button.dataset.download));
    }
    addEventListener("pagehide", () => this.keep());
    this.showSource();
    this.refresh();
    this.resumeAfterReload();
  }

  get title() {
    return $("live-title").value.trim();
  }

  /** Load the languages that the cluster supports, and whether it analyses. */
  async refresh() {
    try {
      const cluster = await this.client.cluster();
      $("live-language").replaceChildren(new Option("Automatic", ""), ...languageOptions(cluster.languages));
      this.analyse.update(cluster);
      this.draw();
    } catch (error) {
      this.needsKey(error);
    }
  }

  reset() {
    this.finals = [];
    this.offset = 0; // seconds of audio in earlier sessions of this transcript
    this.base = 0; // number of their segments
    this.view.clear();
    this.people.reset();
    this.analysis.reset();
  }

  // --- from start to stop ----------------------------------------------------------------------------

  async start() {
    this.reset();
    showNotice($("live-notice"), "");
    try {
      const capture = await this.openSource();
      this.chooseExtras();
      this.follow(this.client.live(this.options()));
      this.listen(capture);
    } catch (error) {
      this.showError(error);
    }
  }

  options() {
    return { language: $("live-language").value, title: this.title, ...this.extras };
  }

  /** What the session does besides the transcript. */
  chooseExtras() {
    const songs = $("live-songs").checked;
    const { chosen } = this.analyse;
    const speakers = this.people.choice.fields;
    this.extras = {
      ...speakers,
      ...(songs ? { songs } : {}),
      ...(chosen ? { analyze: LIVE_STEPS } : {}),
      ...(songs || chosen || speakers.diarize ? { annotations: true } : {}),
    };
  }

  async openSource() {
    const source = $("live-source").value;
    if (source === "microphone") return Capture.microphone({ deviceId: $("live-device").value });
    if (source === "tab") return Capture.tab();
    return this.openFile();
  }

  async openFile() {
    const [file] = $("live-file").files;
    if (!file) throw new Error("Choose a file first.");
    const player = $("live-player").cloneNode(); // an element can be captured only once
    $("live-player").replaceWith(player);
    player.hidden = false;
    player.src = URL.createObjectURL(file);
    const capture = await Capture.element(player);
    player.addEventListener("error", () =>
      this.showError(new Error("This browser can't play that file. Use the Files view.")),
    );
    await player.play();
    return capture;
  }

  listen(capture) {
    this.capture = capture;
    capture.addEventListener("frame", ({ detail }) => this.session?.send(detail));
    capture.addEventListener("level", ({ detail }) => this.level(detail));
    capture.addEventListener("ended", () => this.stop());
    this.draw();
    this.listDevices();
  }

  async pause() {
    const { capture } = this;
    this.capture = null;
    await capture.stop();
    this.session?.flush();
    this.level(0);
    $("live-player").pause();
    this.draw();
  }

  /** Continue after a pause or a reload. */
  async unpause() {
    try {
      const player = $("live-player");
      if (!player.hidden && player.src) {
        this.showError(new Error("A file can't be continued after a pause. Press Stop, then Start."));
        return;
      }
      this.listen(await this.openSource());
    } catch (error) {
      this.showError(error);
    }
  }

  async stop() {
    const { session, capture } = this;
    this.capture = null;
    $("live-player").pause();
    $("live-player").hidden = true;
    this.level(0);
    await capture?.stop();
    session?.end().catch(() => {});
    this.draw();
  }

  // --- the session ----------------------------------------------------------------------------------

  follow(session) {
    this.session = session;
    this.people.begin(session);
    this.lag = 0;
    this.lost = false;
    this.languageFound({ locked: false });
    session.on("connected", (greeting) => this.connected(greeting));
    session.on("partial", (partial) => this.partial(partial));
    session.on("final", (final) => this.final(final));
    session.on("speakers_revised", (event) => this.people.revised(event, this.base));
    session.on("annotation", (annotation) => this.annotated(annotation));
    session.on("language", (found) => this.languageFound(found));
    session.on("status", (status) => this.status(status));
    session.on("unprotected", () =>
      this.notify("The cluster decodes more slowly than the audio arrives. This page can't keep all waiting audio: some is lost if Redis fails.", "warn"),
    );
    session.on("state", (state) => this.stateChanged(state));
    session.on("closed", (event) => this.closed(event));
    session.on("failed", (error) => this.failed(error));
    clearInterval(this.timer);
    this.timer = setInterval(() => this.draw(), DRAW_EVERY_MS);
    this.draw();
  }

  connected({ engine, model }) {
    this.engine = `${engine} ${model}`;
    this.analysis.session = this.session.id;
    this.keep();
  }

  /** An event with its segment number and times in the whole transcript. */
  positioned(event) {
    return {
      ...event,
      segment: event.segment + this.base,
      start: event.start + this.offset,
      end: event.end + this.offset,
      speaker: this.people.labelled(event.speaker),
    };
  }

  partial(partial) {
    $("live-hint").hidden = true;
    this.lag = partial.lag_ms ?? 0;
    this.view.partial(this.positioned(partial));
  }

  final(final) {
    this.lag = 0;
    const shown = this.positioned(final);
    this.view.final(shown);
    this.analysis.mark(shown.segment);
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

  /** Show a song between the lines, or what the analysis has found. */
  annotated({ kind, data }) {
    if (kind === "speaker_name") {
      this.people.named(data);
      return;
    }
    if (kind !== "song") {
      this.analysis.annotated(kind, data, this);
      return;
    }
    const { title, artist, start, offset } = data;
    $("live-hint").hidden = true;
    this.view.remark(`♫ ${title}${artist ? ` – ${artist}` : ""} (at ${clock(offset)})`, start + this.offset);
  }

  status({ status, ms, reason }) {
    if (status === "lost") this.view.remark(`${(ms / 1000).toFixed(1)} s of audio were lost (${reason}).`);
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
    this.follow(this.client.live(this.options()));
    for (const frame of unsent) this.session.send(frame);
    if (!capturing) this.session.end().catch(() => {});
    this.notify("The connection was lost for too long, so a new session was started. Nothing was lost. Share new links.", "warn");
  }

  failed(error) {
    this.capture?.stop();
    this.capture = null;
    this.finish();
    this.showError(error);
  }

  finish() {
    clearInterval(this.timer);
    sessionStorage.removeItem(STORAGE_KEY);
    this.ended = true;
    this.session = null;
    this.draw();
  }

  // --- a reload -------------------------------------------------------------------------------------

  /** Store what is needed to resume after a reload. */
  keep() {
    if (!this.session?.id) return;
    const { title } = this;
    const { id, resumeToken } = this.session;
    const kept = { id, resumeToken, title, extras: this.extras, source: $("live-source").value, listening: Boolean(this.capture) };
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(kept));
  }

  /** Resume the session after a reload: load its finals, and open the microphone if it was open. */
  async resumeAfterReload() {
    const kept = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "null");
    if (!kept) return;
    $("live-title").value = kept.title;
    this.extras = kept.extras ?? {};
    this.follow(this.client.live({ ...this.extras, resume: { ...kept, lastSeq: 0 } }));
    if (!kept.listening || kept.source !== "microphone") return;
    try {
      const permission = await navigator.permissions.query({ name: "microphone" });
      if (permission.state === "granted") this.listen(await this.openSource());
    } catch {
      this.draw(); // the browser can't report the permission; the user presses Continue
    }
  }

  // --- what is shown --------------------------------------------------------------------------------

  draw() {
    const { session, capture } = this;
    $("live-start").hidden = Boolean(session);
    $("live-stop").hidden = $("live-pause").hidden = !session || session.ending;
    $("live-pause").textContent = capture ? "Pause" : "Continue";
    $("live-source").disabled = $("live-device").disabled = $("live-file").disabled = Boolean(session);
    $("live-share").disabled = !session?.id;
    $("live-songs").disabled = Boolean(session);
    this.people.choice.disable(Boolean(session));
    const { available, chosen } = this.analyse;
    $("live-analyse").disabled = Boolean(session) || !available;
    this.analysis.draw({ available, analysing: session ? Boolean(this.extras.analyze) : chosen });
    $("live-copy").disabled = !this.finals.length;
    for (const button of document.querySelectorAll("[data-download]")) button.disabled = !this.finals.length;
    this.drawState();
  }

  drawState() {
    const { session } = this;
    const [state, text] = session ? this.describe(session) : ["idle", this.ended ? "Ended" : "Ready"];
    const element = $("live-state");
    element.dataset.state = state;
    if (element.textContent !== text) element.textContent = text;
    if (this.lost && session?.state === "open" && session.unackedMs < LATE_MS) {
      this.lost = false;
      this.notify("Reconnected, nothing lost.");
    }
  }

  describe(session) {
    const waiting = `${(session.unackedMs / 1000).toFixed(0)} s of audio waiting`;
    if (session.state === "connecting") return ["connecting", "Connecting"];
    if (session.state === "reconnecting") return ["reconnecting", `Connection lost, recording continues: ${waiting}`];
    if (session.throttled) return ["late", `The cluster is overloaded: ${waiting}`];
    if (session.ending) return ["open", "Decoding the rest"];
    const behind = this.lag + session.unackedMs;
    if (behind > LATE_MS) return ["late", `${(behind / 1000).toFixed(1)} s behind`];
    if (!this.capture) return ["idle", "Paused"];
    return ["open", this.engine ? `Listening (${this.engine})` : "Listening"];
  }

  notify(text, kind) {
    showNotice($("live-notice"), text, kind);
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => showNotice($("live-notice"), ""), NOTICE_MS);
  }

  showError(error) {
    if (this.needsKey(error)) return;
    clearTimeout(this.noticeTimer);
    showNotice($("live-notice"), explain(error), "bad");
  }

  level(peak) {
    $("live-level").style.transform = `scaleX(${Math.min(1, Math.sqrt(peak))})`;
  }

  showSource() {
    const source = $("live-source").value;
    $("live-device-label").hidden = source !== "microphone";
    $("live-file-label").hidden = source !== "file";
  }

  /** Browsers report the names of microphones only after the user has allowed one. */
  async listDevices() {
    const devices = await navigator.mediaDevices?.enumerateDevices();
    const microphones = (devices ?? []).filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "default");
    const chosen = $("live-device").value;
    const options = microphones.map(({ label, deviceId }) => new Option(label || "Microphone", deviceId));
    $("live-device").replaceChildren(new Option("Default", ""), ...options);
    $("live-device").value = chosen;
  }

  async copy() {
    await navigator.clipboard.writeText(plain(this.people.voiced(this.finals)));
    this.notify("Copied.");
  }

  download(ending) {
    const [type, write] = FORMATS[ending];
    save(fileName(this.title, ending), write(this.people.voiced(this.finals), this.title), type);
  }
}
