/**
 * What a session has said and may have to say again, in its order: audio and controls. Positions are bytes of the
 * session's audio. Before `settled` everything is in finals that the client has, before `stored` everything is in
 * the cluster, before `end` everything was said. A new connection goes on from `stored`; if the cluster has lost its
 * data, from `settled`.
 */

const WIDTHS = { pcm_s16le: 2, pcm_f32le: 4, mulaw: 1, alaw: 1 };
const RAW = { pcm: "pcm_s16le", raw: "pcm_s16le", s16le: "pcm_s16le" };

/** How `options` say the bytes carry audio: bytes of what the server counts as one, and of a second. */
export function unitsOf(options) {
  const named = options.format ? (RAW[String(options.format).toLowerCase()] ?? "container") : "pcm_s16le";
  const encoding = options.encoding || named;
  const width = WIDTHS[encoding];
  if (width === undefined) return { unit: 1, second: undefined, whole: true }; // a container: bytes, of any length
  const unit = width * Number(options.channels || 1);
  return { unit, second: unit * Number(options.sample_rate || 16000), whole: false };
}

export class Unsettled {
  /** `most`: bytes of stored audio that are kept. `whole`: a container, which is kept from its first byte or not. */
  constructor({ most, whole }) {
    this.most = most;
    this.whole = whole;
    this.settled = 0;
    this.stored = 0;
    this.start = 0; // audio before it isn't kept
    this.end = 0;
    this.size = 0; // bytes kept
    this.audio = []; // {at, data}
    this.controls = []; // {at, message}
    this.config = {}; // changes by controls that aren't kept any more
    this.outgoing = []; // messages for this connection
  }

  /** Audio that was said before its place was known: the session has `received` bytes of an earlier page. */
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

  /** A message of type flush, config or end, which belongs behind the audio so far. */
  control(message) {
    this.controls.push({ at: this.end, message });
    this.outgoing.push(JSON.stringify(message));
  }

  /** The messages that the connection hasn't been given. */
  take() {
    return this.outgoing.splice(0);
  }

  acknowledge(stored, settled) {
    this.stored = Math.max(this.stored, stored);
    this.settled = Math.max(this.settled, settled);
    this.forget(Math.min(this.settled, this.stored));
    if (this.size > this.most) this.forget(this.whole ? this.stored : Math.min(this.stored, this.end - this.most));
  }

  /** The oldest flush was answered. */
  flushed() {
    const number = this.controls.findIndex(({ message }) => message.type === "flush");
    if (number >= 0) this.controls.splice(number, 1);
  }

  /**
   * Make ready what a new connection says to a cluster that has `received` bytes. A control behind which audio was
   * received has been obeyed. One at exactly `received` may have been: it is said again, and a flush may be answered
   * twice. `anew`: the cluster had lost the session, so it knows nothing of flushes that it hasn't answered.
   */
  connected(received, { anew = false } = {}) {
    this.stored = received;
    const again = ({ at, message }) => at >= received || (anew && message.type === "flush");
    const controls = this.controls.filter(again);
    this.outgoing = [];
    for (const { at, data } of this.audio) {
      while (controls.length && controls[0].at <= at) this.outgoing.push(JSON.stringify(controls.shift().message));
      if (at + data.byteLength > received) this.outgoing.push(data.subarray(Math.max(0, received - at)));
    }
    for (const { message } of controls) this.outgoing.push(JSON.stringify(message));
  }

  /** The session takes nothing more. */
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

  /** Whether everything that isn't settled can be said again. */
  get protected() {
    return !this.missing;
  }

  /** The byte from which audio can be said again to a cluster that lost it; undefined if that's of no use. */
  get againFrom() {
    if (this.whole) return this.protected ? 0 : undefined;
    return Math.max(this.settled, this.start);
  }

  forget(position) {
    let gone = 0;
    while (gone < this.audio.length) {
      const { at, data } = this.audio[gone];
      if (at + data.byteLength > position) break;
      this.start = at + data.byteLength;
      this.size -= data.byteLength;
      gone++;
    }
    this.audio.splice(0, gone);
    this.controls = this.controls.filter(({ at, message: { type, ...changes } }) => {
      if (type !== "config" || at >= position) return true;
      Object.assign(this.config, changes);
      return false;
    });
  }
}
