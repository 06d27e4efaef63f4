/** The sound of the last seconds as a picture: its level, and marks where speech was detected. */

import { $ } from "./dom.js";
import { BYTES_PER_SECOND } from "./wav.js";

const BAR_S = 0.08; // one bar
const BAR_PX = 3;
const GAP_PX = 1;
const BARS = 1024; // that are kept: as many as the widest screens show
const MARK_PX = 3;

export class LiveSound {
  constructor() {
    this.canvas = $("live-wave");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.clear();
  }

  /** `at`: seconds of the transcript before the sound. */
  clear(at = 0) {
    this.first = Math.round(at / BAR_S);
    this.seconds = at;
    this.peaks = new Float32Array(BARS);
    this.marks = []; // {segment, start, end}, in seconds; `end` is undefined while speech goes on
    this.level(0);
    this.draw();
  }

  level(peak) {
    $("live-level").style.transform = `scaleY(${Math.min(1, Math.sqrt(peak))})`;
  }

  /** Take in a frame of 16 kHz mono PCM16 with its peak, 0 to 1. */
  frame({ byteLength }, peak) {
    const bar = Math.floor(this.seconds / BAR_S);
    this.seconds += byteLength / BYTES_PER_SECOND;
    this.peaks[bar % BARS] = Math.max(this.peaks[bar % BARS], peak);
    const next = Math.floor(this.seconds / BAR_S);
    if (next !== bar) this.peaks[next % BARS] = 0;
    this.level(peak);
    if (next === bar || this.waiting || document.hidden) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  /** A segment of speech from `start`, until `end` if it is known. One whose end never came ends where the next begins. */
  speech({ segment, start, end }) {
    const known = this.marks.find((mark) => mark.segment === segment);
    if (known) Object.assign(known, { start, end });
    else {
      for (const mark of this.marks) mark.end ??= start;
      this.marks.push({ segment, start, end });
    }
    const oldest = this.seconds - BARS * BAR_S;
    this.marks = this.marks.filter(({ end: last = Infinity }) => last >= oldest);
  }

  draw() {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || this.still.matches) return;
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    const { color, outlineColor, borderTopColor } = getComputedStyle(canvas);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const step = BAR_PX + GAP_PX;
    const last = Math.floor(this.seconds / BAR_S);
    const room = height - 3 * MARK_PX;
    const x = (seconds) => width - (this.seconds - seconds) * (step / BAR_S);
    for (let bar = last; bar >= 0 && last - bar < Math.min(BARS, width / step + 1); bar--) {
      const tall = Math.max(1, room * Math.min(1, Math.sqrt(this.peaks[bar % BARS])));
      const spoken = this.spokenAt((bar + 0.5) * BAR_S);
      pen.fillStyle = bar < this.first ? borderTopColor : spoken ? outlineColor : color;
      pen.beginPath();
      pen.roundRect(x(bar * BAR_S), (room - tall) / 2, BAR_PX, tall, 1.5);
      pen.fill();
    }
    pen.fillStyle = outlineColor;
    for (const { start, end } of this.marks) {
      const from = Math.max(0, x(start));
      const to = Math.min(width, x(end ?? this.seconds));
      if (to > from) pen.fillRect(from, height - MARK_PX, to - from, MARK_PX);
    }
  }

  spokenAt(seconds) {
    return this.marks.some(({ start, end = Infinity }) => seconds >= start && seconds <= end);
  }
}
