/** The Live view: a source, a session, its transcript, and what can be done with that. */

import { $, explain, fileName, save, tell } from "./dom.js";
import { FORMATS, plain } from "./formats.js";
import { Capture } from "./parlando.js";
import { ShareDialog } from "./share.js";
import { TranscriptView } from "./transcript.js";

const KEPT = "parlando.live"; // in the tab's storage, for a reload
const LATE_MS = 1500;
const SHOWN_MS = 250;
const TOLD_MS = 8000;

export class LiveView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.view = new TranscriptView($("live-transcript"));
    this.share = new ShareDialog(client);
    this.reset();
    $("live-start").addEventListener("click", () => this.start());
    $("live-pause").addEventListener("click", () => (this.capture ? this.pause() : this.proceed()));
    $("live-stop").addEventListener("click", () => this.stop());
    $("live-source").addEventListener("change", () => this.showSource());
    $("live-title").addEventListener("change", () => this.session?.configure({ title: this.title }));
    $("live-language").addEventListener("change", ({ target }) => this.session?.configure({ language: target.value || null }));
    $("live-copy").addEventListener("click", () => this.copy());
    $("live-share").addEventListener("click", () => this.share.open(this.session));
    for (const button of document.querySelectorAll("[data-download]")) {
      button.addEventListener("click", () => this.download(button.dataset.download));
    }
    addEventListener("pagehide", () => this.keep());
    this.showSource();
    this.refresh();
    this.comeBack();
  }

  get title() {
    return $("live-title").value.trim();
  }

  /** What depends on the cluster: the languages it knows. */
  async refresh() {
    try {
      const { languages } = await this.client.cluster();
      const names = new Intl.DisplayNames(["en"], { type: "language" });
      const options = languages.map((code) => new Option(names.of(code) ?? code, code));
      options.sort((a, b) => a.text.localeCompare(b.text));
      $("live-language").replaceChildren(new Option("Automatic", ""), ...options);
    } catch (error) {
      this.needsKey(error);
    }
  }

  reset() {
    this.finals = [];
    this.offset = 0; // seconds that earlier sessions of this transcript took
    this.base = 0; // number of segments that they had
    this.view.clear();
  }

  // --- from start to stop ----------------------------------------------------------------------------

  async start() {
    this.reset();
    tell($("live-notice"), "");
    try {
      const capture = await this.openSource();
      this.follow(this.client.live(this.options()));
      this.listen(capture);
    } catch (error) {
      this.complain(error);
    }
  }

  options() {
    return { language: $("live-language").value, title: this.title };
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
    const player = $("live-player").cloneNode(); // an element can be captured once only
    $("live-player").replaceWith(player);
    player.hidden = false;
    player.src = URL.createObjectURL(file);
    const capture = await Capture.element(player);
    player.addEventListener("error", () => this.complain(new Error("This browser can't play that file. Use Files.")));
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

  /** Go on after a pause, or after a reload. */
  async proceed() {
    try {
      const player = $("live-player");
      if (!player.hidden && player.src) {
        this.complain(new Error("A file can't go on from the middle. Stop, and start again."));
        return;
      }
      this.listen(await this.openSource());
    } catch (error) {
      this.complain(error);
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
    this.lag = 0;
    this.lost = false;
    session.on("connected", (greeting) => this.connected(greeting));
    session.on("partial", (partial) => this.partial(partial));
    session.on("final", (final) => this.final(final));
    session.on("status", (status) => this.status(status));
    session.on("unprotected", () => this.say("The cluster is far behind: what it hasn't recognised isn't all kept here.", "warn"));
    session.on("state", (state) => this.turned(state));
    session.on("closed", (goodbye) => this.closed(goodbye));
    session.on("failed", (error) => this.failed(error));
    clearInterval(this.timer);
    this.timer = setInterval(() => this.draw(), SHOWN_MS);
    this.draw();
  }

  connected({ engine, model }) {
    this.engine = `${engine} ${model}`;
    this.keep();
  }

  placed(event) {
    return {
      ...event,
      segment: event.segment + this.base,
      start: event.start + this.offset,
      end: event.end + this.offset,
    };
  }

  partial(partial) {
    $("live-hint").hidden = true;
    this.lag = partial.lag_ms ?? 0;
    this.view.partial(this.placed(partial));
  }

  final(final) {
    this.lag = 0;
    this.view.final(this.placed(final));
    if (!final.text) return;
    $("live-hint").hidden = true;
    this.finals.push(this.placed(final));
    this.keep();
  }

  status({ status, ms, reason }) {
    if (status === "lost") this.view.remark(`${(ms / 1000).toFixed(1)} s of sound were lost (${reason}).`);
  }

  turned(state) {
    if (state === "reconnecting") this.lost = true;
    this.draw();
  }

  closed({ duration, reason }) {
    const unsent = this.session.pending();
    if (reason === "end" || (!unsent.length && !this.capture)) {
      this.finish();
      return;
    }
    // The cluster has given up on us: we were away for too long. What it hasn't got opens a new session.
    this.offset += duration;
    this.base = (this.finals.at(-1)?.segment ?? -1) + 1;
    const goesOn = Boolean(this.capture);
    this.follow(this.client.live(this.options()));
    for (const frame of unsent) this.session.send(frame);
    if (!goesOn) this.session.end().catch(() => {});
    this.say("You were away for long, so a new session was begun. Nothing was lost; links must be shared anew.", "warn");
  }

  failed(error) {
    this.capture?.stop();
    this.capture = null;
    this.finish();
    this.complain(error);
  }

  finish() {
    clearInterval(this.timer);
    sessionStorage.removeItem(KEPT);
    this.ended = true;
    this.session = null;
    this.draw();
  }

  // --- a reload -------------------------------------------------------------------------------------

  keep() {
    if (!this.session?.id) return;
    const { title } = this;
    const { id, resumeToken } = this.session;
    const kept = { id, resumeToken, title, source: $("live-source").value, listening: Boolean(this.capture) };
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  }

  /** After a reload the session goes on: its finals come again, and the microphone if it was open. */
  async comeBack() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    if (!kept) return;
    $("live-title").value = kept.title;
    this.follow(this.client.live({ resume: { ...kept, lastSeq: 0 } }));
    if (!kept.listening || kept.source !== "microphone") return;
    try {
      const permission = await navigator.permissions.query({ name: "microphone" });
      if (permission.state === "granted") this.listen(await this.openSource());
    } catch {
      this.draw(); // this browser doesn't tell; the button is there
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
      this.say("Reconnected, nothing lost.");
    }
  }

  describe(session) {
    const waiting = `${(session.unackedMs / 1000).toFixed(0)} s of sound wait here`;
    if (session.state === "connecting") return ["connecting", "Connecting"];
    if (session.state === "reconnecting") return ["reconnecting", `Connection lost, recording goes on: ${waiting}`];
    if (session.throttled) return ["late", `The cluster is too busy: ${waiting}`];
    if (session.ending) return ["open", "Hearing the rest"];
    const behind = this.lag + session.unackedMs;
    if (behind > LATE_MS) return ["late", `${(behind / 1000).toFixed(1)} s behind`];
    if (!this.capture) return ["idle", "Paused"];
    return ["open", this.engine ? `Listening (${this.engine})` : "Listening"];
  }

  say(text, kind) {
    tell($("live-notice"), text, kind);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => tell($("live-notice"), ""), TOLD_MS);
  }

  complain(error) {
    if (this.needsKey(error)) return;
    clearTimeout(this.saying);
    tell($("live-notice"), explain(error), "bad");
  }

  level(peak) {
    $("live-level").style.transform = `scaleX(${Math.min(1, Math.sqrt(peak))})`;
  }

  showSource() {
    const source = $("live-source").value;
    $("live-device-label").hidden = source !== "microphone";
    $("live-file-label").hidden = source !== "file";
  }

  /** Names of microphones are told once one was allowed. */
  async listDevices() {
    const devices = await navigator.mediaDevices?.enumerateDevices();
    const microphones = (devices ?? []).filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "default");
    const chosen = $("live-device").value;
    const options = microphones.map(({ label, deviceId }) => new Option(label || "Microphone", deviceId));
    $("live-device").replaceChildren(new Option("Default", ""), ...options);
    $("live-device").value = chosen;
  }

  async copy() {
    await navigator.clipboard.writeText(plain(this.finals));
    this.say("Copied.");
  }

  download(ending) {
    const [type, write] = FORMATS[ending];
    save(fileName(this.title, ending), write(this.finals, this.title), type);
  }
}
