/** The sound of a session, kept in this tab as a WAV, and played after the end with its words marked. */

import { $, save, fileName } from "./dom.js";
import { highlightRanges, placesOf, rangeIn } from "./text-ranges.js";
import { BYTES_PER_SECOND, wav } from "./wav.js";

const SEAL_BYTES = 10 * BYTES_PER_SECOND; // so much is in memory; the rest in blobs, which the browser keeps on disk
const MERGE = 64; // blobs become one
const MAX_BYTES = 12 * 3600 * BYTES_PER_SECOND;

export class Recording {
  constructor() {
    this.frames = [];
    this.blobs = [];
    this.unsealed = 0;
    this.bytes = 0;
  }

  /** Add a frame of 16 kHz mono PCM16. Sound after twelve hours isn't kept. */
  add(frame) {
    if (this.bytes >= MAX_BYTES) return;
    this.frames.push(frame);
    this.bytes += frame.byteLength;
    this.unsealed += frame.byteLength;
    if (this.unsealed >= SEAL_BYTES) this.seal();
  }

  seal() {
    this.blobs.push(new Blob(this.frames));
    this.frames = [];
    this.unsealed = 0;
    if (this.blobs.length >= MERGE) this.blobs = [new Blob(this.blobs)];
  }

  /** All of it as a WAV. */
  file() {
    this.seal();
    return wav(this.blobs);
  }
}

/** Plays a recording beside its transcript. */
export class Playback {
  /** `view`: the transcript; `finals()`: what is in it, with times of the recording. */
  constructor(view, finals) {
    this.view = view;
    this.finals = finals;
    $("live-sound-download").addEventListener("click", () => save(fileName(this.title, "wav"), this.file, "audio/wav"));
  }

  get ready() {
    return Boolean(this.file);
  }

  /** Show the player for a recording; `from`: seconds of the transcript before the recording began. */
  open(recording, { title, from = 0 }) {
    this.close();
    this.title = title;
    this.from = from;
    this.file = recording.file();
    const player = (this.player = $("live-player").cloneNode()); // an element whose sound was captured stays captured
    $("live-player").replaceWith(player);
    player.src = this.url = URL.createObjectURL(this.file);
    player.hidden = $("live-sound-download").hidden = false;
    for (const type of ["timeupdate", "seeked"]) player.addEventListener(type, () => this.mark());
    player.addEventListener("play", () => this.run());
  }

  close() {
    if (!this.file) return;
    this.player.pause();
    this.player.removeAttribute("src");
    this.player.hidden = $("live-sound-download").hidden = true;
    URL.revokeObjectURL(this.url);
    this.file = this.marked = undefined;
    highlightRanges("spoken", []);
  }

  /** Play from a time of the transcript, in seconds. */
  play(time) {
    if (!this.ready) return;
    this.player.currentTime = Math.max(0, time - this.from);
    this.start();
  }

  toggle() {
    if (!this.ready) return;
    if (this.player.paused) this.start();
    else this.player.pause();
  }

  start() {
    this.player.play().catch(() => {}); // a pause came before it began
  }

  run() {
    if (!this.ready || this.player.paused) return;
    this.mark();
    requestAnimationFrame(() => this.run());
  }

  /** Mark the word that is played, or the whole line if its words have no times. */
  mark() {
    if (!this.ready) return;
    const time = this.player.currentTime + this.from;
    const final = this.finals().findLast(({ start }) => start <= time + 0.02);
    const said = final && this.view.said(final.segment);
    const word = final?.words?.findLast(({ start }) => start <= time + 0.02) ?? final?.words?.[0];
    const key = `${final?.segment} ${word?.start}`;
    if (key === this.marked) return;
    this.marked = key;
    if (!said) return highlightRanges("spoken", []);
    const place = word && wordsIn(said.textContent, final)[final.words.indexOf(word)];
    const range = rangeIn(said, place?.from ?? 0, place?.to ?? said.textContent.length);
    highlightRanges("spoken", range ? [range] : []);
    if (!this.player.paused) this.view.reveal(said);
  }
}

/** The places of a final's timed words in the text on screen; a correction with as many words keeps their times. */
export function wordsIn(text, { words = [] }) {
  const tokens = [...text.matchAll(/\S+/g)].map(({ 0: word, index }) => ({ from: index, to: index + word.length }));
  return tokens.length === words.length ? tokens : placesOf(text, words.map(({ word }) => word));
}
