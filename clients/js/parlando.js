/**
 * Parlando from JavaScript: live sessions that survive lost connections, the microphone, jobs, viewers.
 * No dependencies, for browsers and for Node 22 or newer (all but `Capture`). Types: parlando.d.ts.
 */

import { Unsettled, unitsOf } from "./unsettled.js";

const KEEP_S = 600; // of audio kept until it is settled
const KEEP_MB = 64;
const PAUSES_MS = [200, 400, 800, 1600, 3000]; // before connecting again
const SILENT_MS = 6000; // a server that owes an answer for so long is taken for lost
const HEARTBEAT_MS = 1000;
const GONE_MS = 60_000; // that a session which was followed may be unknown, until its owner has opened it anew
const FATAL_CLOSES = new Set([1003, 1008, 1009]);

/** What a server refused, or what can't go on. `code` is the server's, or one of ours. */
export class ParlandoError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.name = "ParlandoError";
    this.code = code;
    this.status = status;
  }
}

/** One cluster. */
export class ParlandoClient {
  /**
   * @param {string} [url] where a gateway is; the page's own origin by default
   * @param {{apiKey?: string}} [options]
   */
  constructor(url = globalThis.location?.origin ?? "http://127.0.0.1:8000", { apiKey = "" } = {}) {
    this.url = url.replace(/^ws/, "http").replace(/\/+$/, "");
    this.apiKey = apiKey;
    this.jobs = new Jobs(this);
    this.shared = new Map(); // session → viewer → {label, token}, for a cluster that forgets them
  }

  /** Open a live session, or come back to one (`resume`). It connects by itself, at once. */
  live(options = {}) {
    return new LiveSession(this, options);
  }

  /** All finals of a session so far: JSON, or text in another format. */
  async transcript(sessionId, { format = "json", token } = {}) {
    const answer = await this.request(`/v1/stt/sessions/${encodeURIComponent(sessionId)}/transcript`, {
      query: { format },
      token,
    });
    return format === "json" ? answer.json() : answer.text();
  }

  /** Follow somebody's captions: everything from the beginning, then as they come, until the session closes. */
  watch(sessionId, { token, signal, onconnection } = {}) {
    const path = `/v1/stt/sessions/${encodeURIComponent(sessionId)}/events`;
    return this.follow(path, { token, signal, onconnection, ends: ["closed", "revoked"], patienceMs: GONE_MS });
  }

  /** Let others watch a session: a token for them, and the page to give them. */
  async share(sessionId, { label = "" } = {}) {
    const viewer = await (await this.request(this.viewersPath(sessionId), { method: "POST", json: { label } })).json();
    const shared = this.shared.get(sessionId) ?? new Map();
    this.shared.set(sessionId, shared.set(viewer.viewer_id, { label, token: viewer.token }));
    return viewer;
  }

  /** @internal Give a cluster that has lost its data the viewers of a session again. */
  async shareAgain(sessionId) {
    for (const [, viewer] of this.shared.get(sessionId) ?? []) {
      await this.request(this.viewersPath(sessionId), { method: "POST", json: viewer });
    }
  }

  async viewers(sessionId) {
    return (await (await this.request(this.viewersPath(sessionId))).json()).viewers;
  }

  async revoke(sessionId, viewerId) {
    await this.request(`${this.viewersPath(sessionId)}/${encodeURIComponent(viewerId)}`, { method: "DELETE" });
    this.shared.get(sessionId)?.delete(viewerId);
  }

  async cluster() {
    return (await this.request("/v1/cluster")).json();
  }

  /** The cluster's state, every second. */
  watchCluster({ signal, onconnection } = {}) {
    return this.follow("/v1/cluster/events", { signal, onconnection, ends: [] });
  }

  viewersPath(sessionId) {
    return `/v1/stt/sessions/${encodeURIComponent(sessionId)}/viewers`;
  }

  address(path, query = {}) {
    const address = new URL(this.url + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, String(value));
    }
    return address;
  }

  /** @internal One request; a refusal is a `ParlandoError` with the server's words. */
  async request(path, { method = "GET", query, json, headers = {}, token, signal } = {}) {
    const credential = token || this.apiKey;
    const answer = await fetch(this.address(path, query), {
      method,
      signal,
      headers: {
        ...(credential ? { authorization: `Bearer ${credential}` } : {}),
        ...(json ? { "content-type": "application/json" } : {}),
        ...headers,
      },
      body: json ? JSON.stringify(json) : undefined,
    });
    if (!answer.ok) throw refusal(answer.status, await answer.text());
    return answer;
  }

  /** @internal Server-sent events through `fetch` (an EventSource can't send a key), across broken connections. */
  async *follow(path, { token, signal, onconnection = () => {}, ends, patienceMs = 0 }) {
    let seen = "";
    let broken; // since when a stream that stood can't be had again; for `patienceMs` it may be unknown or refused
    for (let failures = 0; !signal?.aborted; failures++) {
      if (failures) await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length) - 1], signal);
      let body;
      try {
        const headers = seen ? { "last-event-id": seen } : {};
        ({ body } = await this.request(path, { token, signal, headers }));
      } catch (error) {
        if (signal?.aborted) return;
        const unknown = broken && Date.now() - broken < patienceMs && [401, 404].includes(error.status);
        if (error instanceof ParlandoError && error.status < 500 && !unknown) throw error;
        onconnection(false, error);
        continue;
      }
      onconnection(true);
      try {
        for await (const { id, event } of events(body)) {
          failures = 0;
          if (id) seen = id;
          yield event;
          if (ends.includes(event.type)) return;
        }
      } catch (error) {
        if (signal?.aborted) return;
        onconnection(false, error);
      }
      broken = Date.now();
    }
  }
}

function refusal(status, text) {
  try {
    const problem = JSON.parse(text);
    return new ParlandoError(problem.code ?? "http", problem.detail ?? text, status);
  } catch {
    return new ParlandoError("http", `The gateway answered ${status}`, status);
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const fields = text.slice(0, end).split("\n").map((line) => line.split(/: ?(.*)/s));
        const data = fields.filter(([name]) => name === "data").map(([, value]) => value);
        const id = fields.find(([name]) => name === "id")?.[1] ?? "";
        if (data.length) yield { id, event: JSON.parse(data.join("\n")) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * One live session. Dispatches what the server says as events of its type (`partial`, `final`, `status` …, the
 * message in `detail`), and of its own `state`: "connecting", "open", "reconnecting", "closed". Audio is kept until
 * it is settled, and sent again to a gateway that hasn't got it, or to a cluster that has lost it. `unprotected` is
 * told once if more isn't settled than may be kept.
 */
export class LiveSession extends EventTarget {
  constructor(client, { resume, keepS = KEEP_S, keepMb = KEEP_MB, ...options }) {
    super();
    this.client = client;
    this.options = options;
    const { unit, second, whole } = unitsOf(options);
    this.unit = unit;
    this.second = second;
    this.keep = { seconds: keepS, bytes: keepMb * 1e6 };
    this.said = new Unsettled({ most: Math.min(this.keep.bytes, (second ?? Infinity) * keepS), whole });
    this.id = resume?.id ?? "";
    this.resumeToken = resume?.resumeToken ?? "";
    this.lastSeq = resume?.lastSeq ?? 0;
    this.segments = resume?.segments ?? 0; // number of the next one
    this.settledMs = resume?.settledMs ?? 0;
    this.state = "connecting";
    this.resumes = 0;
    this.throttled = false;
    this.protected = true;
    this.known = !resume; // whether the place of our audio in the session is known
    this.ending = false;
    this.failures = 0;
    this.heardAt = Date.now();
    this.online = () => this.state === "reconnecting" && this.connect();
    globalThis.addEventListener?.("online", this.online);
    this.heart = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.connect();
  }

  /** Milliseconds of audio that the server hasn't acknowledged; 0 of a container, of which nobody knows. */
  get unackedMs() {
    return this.second ? ((this.said.end - this.said.stored) / this.second) * 1000 : 0;
  }

  /** What `live({resume})` needs to come back from another page. */
  get ticket() {
    const { id, resumeToken, lastSeq, segments, settledMs } = this;
    return { id, resumeToken, lastSeq, segments, settledMs };
  }

  /** Listen; returns a function that stops it. */
  on(type, listener) {
    const heard = ({ detail }) => listener(detail);
    this.addEventListener(type, heard);
    return () => this.removeEventListener(type, heard);
  }

  /** Send audio: 16 kHz mono PCM16, or whatever the options have said. */
  send(pcm) {
    if (this.state === "closed" || this.ending) return;
    const frame = ArrayBuffer.isView(pcm)
      ? new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength).slice()
      : new Uint8Array(pcm).slice();
    this.said.add(frame);
    const unsent = this.said.end - this.said.stored;
    if (this.unackedMs > this.keep.seconds * 1000 || unsent > this.keep.bytes) {
      const waits = this.second ? `${Math.round(this.unackedMs / 60_000)} minutes` : `${unsent >> 20} MB`;
      this.fail(new ParlandoError("unreachable", `Audio can't be sent, and ${waits} of it wait`));
      return;
    }
    this.talk();
  }

  /** Settle what was said so far; `flushed` comes when it is. */
  flush() {
    this.control({ type: "flush" });
  }

  /** Change language, prompt, title, words, interim or vad_silence_ms from here on. */
  configure(changes) {
    this.control({ type: "config", ...changes });
  }

  /** No more audio comes. The tail follows, then `closed`, for which the promise waits. */
  end() {
    this.control({ type: "end" });
    this.ending = true;
    return this.closed();
  }

  /** Resolves with the `closed` event; rejects if the session fails. */
  closed() {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") this.failure ? reject(this.failure) : resolve(this.goodbye);
      this.addEventListener("closed", ({ detail }) => resolve(detail), { once: true });
      this.addEventListener("failed", ({ detail }) => reject(detail), { once: true });
    });
  }

  /** Leave without ending the session: it can be resumed for a minute. */
  leave() {
    this.stop();
  }

  /** Audio that was never stored, for a new session to take over. */
  pending() {
    return this.unacked;
  }

  /** Frames that the server hasn't acknowledged. */
  get unacked() {
    return this.said.pending();
  }

  // --- the connection ------------------------------------------------------------------------------

  connect() {
    clearTimeout(this.timer);
    const { client } = this;
    const address = client.address("/v1/stt/stream", this.query());
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = client.apiKey ? ["parlando", `parlando-key.${client.apiKey}`] : ["parlando"];
    const socket = new WebSocket(address, protocols);
    this.drop();
    this.socket = socket;
    this.heardAt = Date.now();
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket === this.socket && this.take(JSON.parse(data));
    socket.onclose = (close) => socket === this.socket && this.lost(close);
  }

  /** A new session's options; or what a resume needs, and a cluster that has lost the session. */
  query() {
    if (!this.resumeToken) return this.options;
    const resume = { session_id: this.id, resume: this.resumeToken, last_seq: this.lastSeq };
    const query = { ...this.options, ...this.said.config, ...resume };
    const again = this.known ? this.said.againFrom : undefined;
    if (again === undefined) return query;
    const startAt = Math.ceil(again / this.unit);
    return { ...query, start_at: startAt, settled_ms: this.settledMs, segments: this.segments };
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close();
  }

  take(message) {
    this.heardAt = Date.now();
    if (message.seq !== undefined && message.type !== "connected") this.lastSeq = message.seq;
    switch (message.type) {
      case "connected":
        this.greeted(message);
        break;
      case "ack":
        this.acknowledge(message.received * this.unit, message);
        break;
      case "final":
        this.segments = message.segment + 1;
        break;
      case "flushed":
        this.said.flushed();
        break;
      case "status":
        this.throttled = message.status === "throttled";
        break;
      case "closed":
        this.goodbye = message;
        this.stop();
        break;
      case "error":
        this.refused = message;
        break;
    }
    if (message.type !== "ack" && message.settled !== undefined) this.acknowledge(this.said.stored, message);
    this.tell(message.type, message);
    this.tellProtection();
  }

  greeted(greeting) {
    this.id = greeting.session_id;
    this.resumeToken = greeting.resume_token;
    this.failures = 0;
    this.throttled = false;
    const received = greeting.received * this.unit;
    if (!this.known) this.said.rebase(received);
    this.known = true;
    if (greeting.resumed) this.resumes++;
    this.said.connected(received, { anew: greeting.reopened ?? false });
    if ((greeting.state ?? "open") !== "open") this.said.finished();
    this.turn("open");
    this.talk();
    if (greeting.reopened) this.reopened();
  }

  /** The cluster had lost the session: it has no viewers, and no audio that wasn't kept here. */
  reopened() {
    this.client.shareAgain(this.id).catch((error) => this.tell("error", error));
    const { missing } = this.said;
    if (!missing || !this.second) return;
    const ms = Math.round((missing / this.second) * 1000);
    this.tell("status", { type: "status", session_id: this.id, status: "lost", ms, reason: "unprotected" });
  }

  /** `settled` isn't told by a server of an older version: there, what is stored is as good as settled. */
  acknowledge(received, { settled, settled_ms = 0 }) {
    this.said.acknowledge(received, settled === undefined ? received : settled * this.unit);
    this.settledMs = Math.max(this.settledMs, settled_ms);
  }

  tellProtection() {
    if (this.said.protected === this.protected) return;
    this.protected = this.said.protected;
    if (!this.protected) this.tell("unprotected", { type: "unprotected", kept: this.said.size });
  }

  /** Put a control behind the audio so far. Without a connection it is said in its place by the next one. */
  control(message) {
    if (this.state === "closed" || this.ending) return;
    this.said.control(message);
    this.talk();
  }

  /** Send what was said and isn't sent yet. */
  talk() {
    if (this.state !== "open") return;
    for (const message of this.said.take()) this.socket.send(message);
  }

  say(message) {
    if (this.state === "open") this.socket.send(JSON.stringify(message));
  }

  /** The connection is gone: try again, unless it makes no sense. */
  lost({ code }) {
    if (this.state === "closed") return;
    const { refused } = this;
    this.socket = null;
    this.refused = undefined;
    const lost = refused?.code === "session_lost"; // for good if the session itself has ended so
    const over = lost && (refused.seq !== undefined || this.said.againFrom === undefined);
    const hopeless = refused && (!refused.retryable || !this.resumeToken || over);
    if (hopeless || FATAL_CLOSES.has(code)) {
      this.fail(new ParlandoError(refused?.code ?? "refused", refused?.message ?? `Refused (${code})`));
      return;
    }
    this.turn("reconnecting");
    this.timer = setTimeout(() => this.connect(), PAUSES_MS[Math.min(this.failures++, PAUSES_MS.length - 1)]);
  }

  /** A server that owes us an answer and says nothing is lost, whatever TCP believes. */
  beat() {
    if (this.state === "closed") return;
    const silent = Date.now() - this.heardAt;
    if (this.socket && silent > SILENT_MS && !this.throttled) {
      this.drop();
      this.lost({ code: 1006 });
    } else if (this.state === "open" && silent > SILENT_MS / 3) this.say({ type: "ping" });
  }

  fail(error) {
    this.failure = error;
    this.stop();
    this.tell("failed", error);
  }

  stop() {
    clearTimeout(this.timer);
    clearInterval(this.heart);
    globalThis.removeEventListener?.("online", this.online);
    this.drop();
    this.turn("closed");
  }

  turn(state) {
    if (state === this.state) return;
    this.state = state;
    this.tell("state", state);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Recorded files. */
export class Jobs {
  constructor(client) {
    this.client = client;
  }

  /** Upload a file; where the job stands then. `onprogress` is given a number from 0 to 1. */
  submit(file, { onprogress = () => {}, signal, name, ...options } = {}) {
    const form = new FormData();
    for (const [field, value] of Object.entries(options)) form.append(field, String(value));
    form.append("file", file, name ?? file.name ?? "audio");
    if (typeof XMLHttpRequest === "undefined") return this.submitByFetch(form, signal);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch can't tell how much of an upload has gone
      request.open("POST", this.client.address("/v1/stt/jobs"));
      if (this.client.apiKey) request.setRequestHeader("authorization", `Bearer ${this.client.apiKey}`);
      request.upload.onprogress = ({ loaded, total }) => onprogress(total ? loaded / total : 0);
      request.onload = () =>
        request.status < 300
          ? resolve(JSON.parse(request.responseText))
          : reject(refusal(request.status, request.responseText));
      request.onerror = () => reject(new ParlandoError("unreachable", "The upload broke off"));
      request.onabort = () => reject(new ParlandoError("aborted", "The upload was cancelled"));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  async submitByFetch(body, signal) {
    const { client } = this;
    const headers = client.apiKey ? { authorization: `Bearer ${client.apiKey}` } : {};
    const answer = await fetch(client.address("/v1/stt/jobs"), { method: "POST", body, headers, signal });
    if (!answer.ok) throw refusal(answer.status, await answer.text());
    return answer.json();
  }

  /** Progress, segments, and the end, as they come. */
  events(jobId, { signal, onconnection } = {}) {
    const ends = ["completed", "failed", "cancelled"];
    return this.client.follow(`${this.path(jobId)}/events`, { signal, onconnection, ends });
  }

  /** The job when it has completed, with its `result`; a `ParlandoError` if it hasn't. */
  async wait(jobId, { onprogress = () => {}, signal } = {}) {
    for await (const event of this.events(jobId, { signal })) {
      onprogress(event.progress);
      if (event.type === "failed") throw new ParlandoError(event.error.code, event.error.message);
      if (event.type === "cancelled") throw new ParlandoError("cancelled", "The job was cancelled");
    }
    signal?.throwIfAborted();
    return this.get(jobId);
  }

  async get(jobId) {
    return (await this.client.request(this.path(jobId))).json();
  }

  async list({ limit = 20, before } = {}) {
    return (await this.client.request("/v1/stt/jobs", { query: { limit, before } })).json();
  }

  /** Cancel a job, or delete one that has ended. */
  async cancel(jobId) {
    return (await this.client.request(this.path(jobId), { method: "DELETE" })).json();
  }

  /** A completed job's result: JSON, or `text`, `srt`, `vtt`, `tsv`. */
  async result(jobId, format = "json") {
    const answer = await this.client.request(`${this.path(jobId)}/result`, { query: { format } });
    return format === "json" ? answer.json() : answer.text();
  }

  path(jobId) {
    return `/v1/stt/jobs/${encodeURIComponent(jobId)}`;
  }
}

/**
 * Audio from a microphone, a tab or a media element, as frames of 16 kHz mono PCM16. Dispatches `frame`
 * (an ArrayBuffer), `level` (the frame's peak, 0 to 1) and `ended` (the source has stopped by itself).
 */
export class Capture extends EventTarget {
  /** The microphone. `deviceId` as `navigator.mediaDevices.enumerateDevices()` tells it. */
  static async microphone({ deviceId, frameMs } = {}) {
    const audio = {
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
      channelCount: 1,
      echoCancellation: false, // these two are made for calls; recognisers want the plain sound
      noiseSuppression: false,
      autoGainControl: true,
    };
    requireSecure(navigator.mediaDevices?.getUserMedia);
    return Capture.open(() => navigator.mediaDevices.getUserMedia({ audio }), { frameMs });
  }

  /** What a tab (or the screen) plays; the browser asks which, and whether with its sound. */
  static async tab({ frameMs } = {}) {
    requireSecure(navigator.mediaDevices?.getDisplayMedia);
    const audio = { suppressLocalAudioPlayback: false, echoCancellation: false, noiseSuppression: false };
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio });
    for (const track of stream.getVideoTracks()) track.enabled = false; // stopping it would end the sharing
    if (!stream.getAudioTracks().length) {
      for (const track of stream.getTracks()) track.stop();
      throw new ParlandoError("no_audio", "Nothing to hear was shared: choose a tab and tick its sound");
    }
    return Capture.stream(stream, { frameMs });
  }

  /** Any MediaStream. */
  static stream(stream, { frameMs } = {}) {
    return Capture.open(() => stream, { frameMs });
  }

  /** A playing `<audio>` or `<video>`, which stays audible. */
  static element(element, { frameMs } = {}) {
    return Capture.open(() => element, { frameMs });
  }

  /** Everything else is ready before the source is opened, so that its first moment is heard. */
  static async open(obtain, { frameMs = 40 }) {
    const capture = new Capture();
    const context = (capture.context = new AudioContext({ latencyHint: "interactive" }));
    try {
      await context.audioWorklet.addModule(new URL("./capture-worklet.js", import.meta.url));
      capture.node = new AudioWorkletNode(context, "parlando-capture", { processorOptions: { frameMs } });
      capture.node.connect(context.destination); // its own output is silence
      capture.hear(await obtain());
      await context.resume();
      capture.node.port.onmessage = ({ data }) => capture.take(data); // until now frames wait in the port
    } catch (error) {
      await capture.release();
      throw error;
    }
    return capture;
  }

  hear(input) {
    const { context } = this;
    const ended = () => this.dispatchEvent(new Event("ended"));
    if (input instanceof MediaStream) {
      this.stream = input;
      this.source = context.createMediaStreamSource(input);
      input.getAudioTracks()[0].addEventListener("ended", ended);
    } else {
      this.source = context.createMediaElementSource(input);
      this.source.connect(context.destination);
      input.addEventListener("ended", ended);
    }
    this.source.connect(this.node);
  }

  take({ pcm, peak, stopped }) {
    if (stopped) this.stopped?.();
    else {
      this.dispatchEvent(new CustomEvent("level", { detail: peak }));
      this.dispatchEvent(new CustomEvent("frame", { detail: pcm }));
    }
  }

  /** Send every frame to a session, until `stop`. */
  feed(session) {
    this.addEventListener("frame", ({ detail }) => session.send(detail));
    return this;
  }

  pause() {
    return this.context.suspend();
  }

  resume() {
    return this.context.resume();
  }

  /** Let go of the source; the last frame, a short one, comes before the promise resolves. */
  async stop() {
    if (this.context.state === "running") {
      const last = new Promise((resolve) => (this.stopped = resolve));
      this.node.port.postMessage("stop");
      await Promise.race([last, pause(200)]);
    }
    await this.release();
  }

  async release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await this.context.close();
  }
}

function requireSecure(available) {
  if (!available) {
    throw new ParlandoError("insecure", "Browsers give the microphone to pages on HTTPS or localhost only");
  }
}
