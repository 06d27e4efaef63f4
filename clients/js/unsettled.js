/**
 * The replay buffer of a session: audio and controls that may have to be sent again, in their order. Positions are
 * bytes of the session's audio. Audio before `settled` is in finals that the client has received, audio before
 * `stored` is in the cluster, and `end` is the end of the audio so far. A new connection continues from `stored`; if
 * the cluster has lost its data, from `settled`.
 */

const WIDTHS = { pcm_s16le: 2, pcm_f32le: 4, mulaw: 1, alaw: 1 };
const RAW = { pcm: "pcm_s16le", raw: "pcm_s16le", s16le: "pcm_s16le" };

/**
 * The audio format in numbers. `unit`: bytes of one unit in which the server counts. `second`: bytes per second,
 * undefined for a container. `whole`: whether it is a container.
 */
export function unitsOf(options) {
  const named = options.format ? (RAW[String(options.format).toLowerCase()] ?? "container") : "pcm_s16le";
  const encoding = options.encoding || named;
  const width = WIDTHS[encoding];
  if (width === undefined) return { unit: 1, second: undefined, whole: true }; // a container: bytes, of any length
  const unit = width * Number(options.channels || 1);
  return { unit, second: unit * Number(options.sample_rate || 16000), whole: false };
}

/** Audio until it is settled, and controls until the server has certainly applied them. */
export class Unsettled {
  /** `limit`: bytes of stored audio to keep. `whole`: a container, which is kept from its first byte or not at all. */
  constructor({ limit, whole }) {
    this.limit = limit;
    this.whole = whole;
    this.settled = 0;
    this.stored = 0;
    this.start = 0; // position of the first byte kept
    this.end = 0;
    this.size = 0; // bytes kept
    this.audio = []; // {at, data}
    this.controls = []; // {at, message}
    this.config = {}; // config changes of controls that are no longer kept
    this.outgoing = []; // messages to send on this connection
  }

  /** Shift all positions: the session already has `received` bytes from an earlier page. */
  rebase(received) {
    for (const item of [...this.audio, ...this.controls]) item.at += received;
    this.settled = this.stored = this.start = received;
    this.end += received;
  }

  add(data) {
    this.audio.push({ at: this.end, data });
    this.outgoing.push(data);
    this.end += data.byteLength;
    this.size += data.byteLength;
  }

  /** Add a flush, config or end message, to be sent after the audio so far. */
  control(message) {
    this.controls.push({ at: this.end, message });
    this.outgoing.push(JSON.stringify(message));
  }

  /** Remove and return the messages that are to be sent. */
  take() {
    return this.outgoing.splice(0);
  }

  /** Raise `stored` and `settled`, and drop the audio that need not be kept. */
  acknowledge(stored, settled) {
    this.stored = Math.max(this.stored, stored);
    this.settled = Math.max(this.settled, settled);
    this.forget(Math.min(this.settled, this.stored));
    if (this.size > this.limit) this.forget(this.whole ? this.stored : Math.min(this.stored, this.end - this.limit));
  }

  /** The oldest flush was answered. */
  flushed() {
    const number = this.controls.findIndex(({ message }) => message.type === "flush");
    if (number >= 0) this.controls.splice(number, 1);
  }

  /**
   * Queue what a new connection sends to a cluster that has `received` bytes. Controls before `received` have been
   * applied. One at exactly `received` may have been: it is sent again, so a flush may be answered twice.
   * `reopened`: the cluster had lost the session, so flushes without an answer are lost too and are sent again.
   */
  connected(received, { reopened = false } = {}) {
    this.stored = received;
    const replayed = ({ at, message }) => at >= received || (reopened && message.type === "flush");
    const controls = this.controls.filter(replayed);
    this.outgoing = [];
    for (const { at, data } of this.audio) {
      while (controls.length && controls[0].at <= at) this.outgoing.push(JSON.stringify(controls.shift().message));
      if (at + data.byteLength > received) this.outgoing.push(data.subarray(Math.max(0, received - at)));
    }
    for (const { message } of controls) this.outgoing.push(JSON.stringify(message));
  }

  /** The session accepts nothing more: discard what is queued. */
  finished() {
    this.outgoing = [];
  }

  /** Audio that isn't stored. */
  pending() {
    const missing = this.audio.filter(({ at, data }) => at + data.byteLength > this.stored);
    return missing.map(({ at, data }) => data.subarray(Math.max(0, this.stored - at)));
  }

  /** Bytes that are neither settled nor kept. */
  get missing() {
    return Math.max(0, this.start - (this.whole ? 0 : this.settled));
  }

  /** Whether everything that isn't settled can be sent again. */
  get protected() {
    return !this.missing;
  }

  /** The position from which audio can be sent to a cluster that has lost it; undefined if it can't be replayed. */
  get replayFrom() {
    if (this.whole) return this.protected ? 0 : undefined;
    return Math.max(this.settled, this.start);
  }

  /** Drop audio before `position`, and the config controls there, whose changes are kept in `config`. */
  forget(position) {
    let count = 0;
    while (count < this.audio.length) {
      const { at, data } = this.audio[count];
      if (at + data.byteLength > position) break;
      this.start = at + data.byteLength;
      this.size -= data.byteLength;
      count++;
    }
    this.audio.splice(0, count);
    this.controls = this.controls.filter(({ at, message: { type, ...changes } }) => {
      if (type !== "config" || at >= position) return true;
      Object.assign(this.config, changes);
      return false;
    });
  }
}
