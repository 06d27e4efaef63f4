/** The player of a file that this browser has: the waveform and the browser's own controls, in step with the words. */

import { make } from "./dom.js";
import { BARS, peaksOf, spokenBars } from "./peaks.js";
import { Waveform } from "./waveform.js";

/** Dispatches `bars` with the loudness in `detail` when it is computed, so that it can be kept. */
export class FilePlayer extends EventTarget {
  /** `bars`: the loudness, if it was computed before. */
  constructor({ file, name, bars, result }, words) {
    super();
    this.words = words;
    this.closing = new AbortController();
    this.url = URL.createObjectURL(file);
    this.audio = make("audio", { controls: true, preload: "metadata", src: this.url, ariaLabel: `Audio of ${name}` });
    this.waveform = new Waveform(result.duration, `Position in ${name}`, { signal: this.closing.signal });
    this.remark = make("p", { className: "small", hidden: true });
    const unplayable = make("p", { className: "small", hidden: true }, "This browser can't play this audio format.");
    this.element = make("div", { className: "player" }, this.waveform.element, this.remark, this.audio, unplayable);
    this.audio.addEventListener("error", () => {
      if (this.closing.signal.aborted) return;
      unplayable.hidden = false;
      this.audio.hidden = this.waveform.element.hidden = this.remark.hidden = true;
    });
    for (const type of ["timeupdate", "seeked"]) this.audio.addEventListener(type, () => this.show());
    this.audio.addEventListener("play", () => this.step());
    this.waveform.addEventListener("seek", ({ detail }) => {
      this.audio.currentTime = detail;
      this.show();
    });
    words.addEventListener("play", ({ detail }) => this.play(detail));
    this.draw(file, result, bars);
  }

  async draw(file, result, known) {
    const { signal } = this.closing;
    if (known?.length === BARS) return this.waveform.setBars(known);
    try {
      const bars = await peaksOf(file, result.duration, { signal });
      this.waveform.setBars(bars ?? spokenBars(result.segments, result.duration));
      if (bars) return this.dispatchEvent(new CustomEvent("bars", { detail: bars }));
      this.remark.textContent = "The bars show where words are: this browser can't read the loudness of this file.";
      this.remark.hidden = this.waveform.element.hidden;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Play from a time in seconds. */
  play(time) {
    if (this.audio.hidden) return;
    this.audio.currentTime = time;
    this.audio.play().catch(() => {});
    this.words.mark(time);
    this.waveform.show(time);
  }

  /** Show the time on the waveform and in the words; a browser's `timeupdate` comes too seldom for words. */
  step() {
    if (this.audio.paused || this.closing.signal.aborted) return;
    this.show();
    requestAnimationFrame(() => this.step());
  }

  show() {
    const { currentTime, paused } = this.audio;
    this.words.mark(currentTime, { followed: !paused });
    this.waveform.show(currentTime);
  }

  close() {
    this.closing.abort();
    this.audio.removeAttribute("src");
    URL.revokeObjectURL(this.url);
  }
}
