/** A live session over a WebSocket that survives lost connections, and a cluster that loses its data. */

import { ParlandoError, RETRY_DELAYS_MS } from "./errors.js";
import { Unsettled, unitsOf } from "./unsettled.js";

const KEEP_S = 600; // seconds of audio kept until it is settled
const KEEP_MB = 64;
const SILENCE_MS = 6000; // the connection is lost if the server sends nothing for this long, a pong included
const HEARTBEAT_MS = 1000;
const FATAL_CLOSE_CODES = new Set([1003, 1008, 1009]);

/**
 * One live session. Dispatches the server's messages as events of their type (`partial`, `final`, `status` …, the
 * message in `detail`), and its own `state`: "connecting", "open", "reconnecting", "closed".
 *
 * Audio is kept until it is settled. It is sent again to a gateway that hasn't received it, and to a cluster that has
 * lost it. `unprotected` is dispatched once if more audio is unsettled than the limits allow to keep.
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
    this.unsettled = new Unsettled({ limit: Math.min(this.keep.bytes, (second ?? Infinity) * keepS), whole });
    this.id = resume?.id ?? "";
    this.resumeToken = resume?.resumeToken ?? "";
    this.lastSeq = resume?.lastSeq ?? 0;
    this.lastAnnotation = 0; // the number of the last annotation, if the options ask for them
    this.segments = resume?.segments ?? 0; // number of the next segment
    this.settledMs = resume?.settledMs ?? 0;
    this.state = "connecting";
    this.resumes = 0;
    this.throttled = false;
    this.protected = true;
    this.positionKnown = !resume; // whether the position of this page's audio in the session is known
    this.ending = false;
    this.failures = 0;
    this.receivedAt = Date.now();
    this.onOnline = () => this.state === "reconnecting" && this.connect();
    globalThis.addEventListener?.("online", this.onOnline);
    this.heartbeat = setInterval(() => this.checkLiveness(), HEARTBEAT_MS);
    this.connect();
  }

  /** Milliseconds of audio that the server hasn't acknowledged; 0 for a container, whose bytes have no known duration. */
  get unackedMs() {
    return this.second ? ((this.unsettled.end - this.unsettled.stored) / this.second) * 1000 : 0;
  }

  /** What another page needs to resume the session: `live({resume: ticket})`. */
  get ticket() {
    const { id, resumeToken, lastSeq, segments, settledMs } = this;
    return { id, resumeToken, lastSeq, segments, settledMs };
  }

  /** Add a listener; returns a function that removes it. */
  on(type, listener) {
    const handler = ({ detail }) => listener(detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  /** Send audio: 16 kHz mono PCM16, or the format that the options name. */
  send(pcm) {
    if (this.state === "closed" || this.ending) return;
    const frame = ArrayBuffer.isView(pcm)
      ? new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength).slice()
      : new Uint8Array(pcm).slice();
    this.unsettled.add(frame);
    const unsent = this.unsettled.end - this.unsettled.stored;
    if (this.unackedMs > this.keep.seconds * 1000 || unsent > this.keep.bytes) {
      const waiting = this.second ? `${Math.round(this.unackedMs / 60_000)} minutes` : `${unsent >> 20} MB`;
      this.fail(new ParlandoError("unreachable", `Audio can't be sent, and ${waiting} of it are waiting`));
      return;
    }
    this.sendOutgoing();
  }

  /** Have all audio so far settled; `flushed` is dispatched when it is. */
  flush() {
    this.control({ type: "flush" });
  }

  /** Change options, such as language, task, prompt or hotwords, for the audio that follows. */
  configure(changes) {
    this.control({ type: "config", ...changes });
  }

  /** End the audio. The promise resolves with `closed`, after the last finals. */
  end() {
    this.control({ type: "end" });
    this.ending = true;
    return this.closed();
  }

  /** Resolves with the `closed` event; rejects if the session fails. */
  closed() {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") {
        this.failure ? reject(this.failure) : resolve(this.closedEvent);
        return;
      }
      this.addEventListener("closed", ({ detail }) => resolve(detail), { once: true });
      this.addEventListener("failed", ({ detail }) => reject(detail), { once: true });
    });
  }

  /** Disconnect without ending the session: it can be resumed for a minute. */
  leave() {
    this.stop();
  }

  /** Audio that was never stored, for a new session to send. */
  pending() {
    return this.unsettled.pending();
  }

  // --- the connection ------------------------------------------------------------------------------

  connect() {
    clearTimeout(this.timer);
    const credential = this.client.credential();
    if (!credential?.then) {
      this.open(credential);
      return;
    }
    const attempt = (this.attempt = {}); // a later one replaces it
    const current = () => attempt === this.attempt && this.state !== "closed";
    credential.then(
      (token) => current() && this.open(token),
      () => current() && this.lost({ code: 1006 }),
    );
  }

  open(credential) {
    const { client } = this;
    const address = client.address("/v1/stt/stream", this.query());
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = credential ? ["parlando", `parlando-key.${credential}`] : ["parlando"];
    const socket = new WebSocket(address, protocols);
    this.drop();
    this.socket = socket;
    this.receivedAt = Date.now();
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(JSON.parse(data));
    socket.onclose = (close) => socket === this.socket && this.lost(close);
  }

  /** The query: a new session's options, or a resume with the position for a cluster that has lost the session. */
  query() {
    if (!this.resumeToken) return this.options;
    const resume = { session_id: this.id, resume: this.resumeToken, last_seq: this.lastSeq, last_annotation: this.lastAnnotation };
    const query = { ...this.options, ...this.unsettled.config, ...resume };
    const replayFrom = this.positionKnown ? this.unsettled.replayFrom : undefined;
    if (replayFrom === undefined) return query;
    const startAt = Math.ceil(replayFrom / this.unit);
    return { ...query, start_at: startAt, settled_ms: this.settledMs, segments: this.segments };
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close();
  }

  receive(message) {
    this.receivedAt = Date.now();
    if (message.type === "annotation") this.lastAnnotation = message.number;
    if (message.seq !== undefined && message.type !== "connected") this.lastSeq = message.seq;
    switch (message.type) {
      case "connected":
        this.connected(message);
        break;
      case "ack":
        this.acknowledge(message.received * this.unit, message);
        break;
      case "final":
        this.segments = message.segment + 1;
        break;
      case "flushed":
        this.unsettled.flushed();
        break;
      case "status":
        this.throttled = message.status === "throttled";
        break;
      case "closed":
        this.closedEvent = message;
        this.stop();
        break;
      case "error":
        this.serverError = message;
        break;
    }
    if (message.type !== "ack" && message.settled !== undefined) this.acknowledge(this.unsettled.stored, message);
    this.emit(message.type, message);
    this.emitProtection();
  }

  connected(message) {
    this.id = message.session_id;
    this.resumeToken = message.resume_token;
    this.failures = 0;
    this.throttled = false;
    const received = message.received * this.unit;
    if (!this.positionKnown) this.unsettled.rebase(received);
    this.positionKnown = true;
    if (message.resumed) this.resumes++;
    this.unsettled.connected(received, { reopened: message.reopened ?? false });
    if ((message.state ?? "open") !== "open") this.unsettled.finished();
    this.setState("open");
    this.sendOutgoing();
    if (message.reopened) this.reopened();
  }

  /** The cluster had lost the session: restore its viewers, and report audio that was not kept here. */
  reopened() {
    this.client.shareAgain(this.id).catch((error) => this.emit("error", error));
    const { missing } = this.unsettled;
    if (!missing || !this.second) return;
    const ms = Math.round((missing / this.second) * 1000);
    this.emit("status", { type: "status", session_id: this.id, status: "lost", ms, reason: "unprotected" });
  }

  /** Servers of older versions send no `settled`: for them stored audio counts as settled. */
  acknowledge(received, { settled, settled_ms = 0 }) {
    this.unsettled.acknowledge(received, settled === undefined ? received : settled * this.unit);
    this.settledMs = Math.max(this.settledMs, settled_ms);
  }

  emitProtection() {
    if (this.unsettled.protected === this.protected) return;
    this.protected = this.unsettled.protected;
    if (!this.protected) this.emit("unprotected", { type: "unprotected", kept: this.unsettled.size });
  }

  /** Queue a control behind the audio so far. Without a connection it is sent, in its place, after the next connect. */
  control(message) {
    if (this.state === "closed" || this.ending) return;
    this.unsettled.control(message);
    this.sendOutgoing();
  }

  /** Send the queued audio and controls. */
  sendOutgoing() {
    if (this.state !== "open") return;
    for (const message of this.unsettled.take()) this.socket.send(message);
  }

  sendJson(message) {
    if (this.state === "open") this.socket.send(JSON.stringify(message));
  }

  /** The connection is lost: connect again after a delay, or fail if that can't help. */
  lost({ code }) {
    if (this.state === "closed") return;
    const { serverError } = this;
    this.socket = null;
    this.serverError = undefined;
    const sessionLost = serverError?.code === "session_lost"; // with a `seq` it is a kept event: the session has ended
    const unrecoverable = sessionLost && (serverError.seq !== undefined || this.unsettled.replayFrom === undefined);
    const fatal = serverError && (!serverError.retryable || !this.resumeToken || unrecoverable);
    if (fatal || FATAL_CLOSE_CODES.has(code)) {
      const message = serverError?.message ?? `The server closed the connection with code ${code}`;
      this.fail(new ParlandoError(serverError?.code ?? "refused", message));
      return;
    }
    this.setState("reconnecting");
    const wait = RETRY_DELAYS_MS[Math.min(this.failures++, RETRY_DELAYS_MS.length - 1)];
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Ping a silent server; give up the connection if it stays silent, because TCP may not notice for minutes. */
  checkLiveness() {
    if (this.state === "closed") return;
    const silentMs = Date.now() - this.receivedAt;
    if (this.socket && silentMs > SILENCE_MS && !this.throttled) {
      this.drop();
      this.lost({ code: 1006 });
    } else if (this.state === "open" && silentMs > SILENCE_MS / 3) this.sendJson({ type: "ping" });
  }

  fail(error) {
    this.failure = error;
    this.stop();
    this.emit("failed", error);
  }

  stop() {
    clearTimeout(this.timer);
    clearInterval(this.heartbeat);
    globalThis.removeEventListener?.("online", this.onOnline);
    this.drop();
    this.setState("closed");
  }

  setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
