/** A waveform on a canvas that shows and sets the time of a player. It is a slider for keyboards and screen readers. */

import { clock, make } from "./dom.js";

const HEIGHT = 56; // CSS pixels
const GAP = 1;
const WIDE = 2; // of a bar
const STEPS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -60, PageUp: 60 }; // seconds

/** Dispatches `seek` with the time in seconds in `detail`. */
export class Waveform extends EventTarget {
  /** `signal`: ends its listeners, of which the one for the theme would keep it in memory. */
  constructor(duration, label, { signal } = {}) {
    super();
    this.duration = duration;
    this.time = 0;
    this.canvas = make("canvas", { height: HEIGHT });
    this.element = make("div", { className: "waveform", role: "slider", tabIndex: 0, ariaLabel: label }, this.canvas);
    this.element.ariaValueMin = "0";
    this.element.ariaValueMax = String(Math.floor(duration));
    this.element.addEventListener("keydown", (event) => this.pressed(event));
    for (const type of ["pointerdown", "pointermove"]) {
      this.element.addEventListener(type, (event) => {
        if (event.buttons === 1) this.seek((event.offsetX / this.element.clientWidth) * duration);
      });
    }
    new ResizeObserver(() => this.draw()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
    this.show(0);
  }

  setBars(bars) {
    this.bars = bars;
    this.draw();
  }

  /** Show the time of the player, in seconds. */
  show(time) {
    this.time = time;
    const second = String(Math.floor(time));
    if (this.element.ariaValueNow !== second) {
      this.element.ariaValueNow = second;
      this.element.ariaValueText = `${clock(time)} of ${clock(this.duration)}`;
    }
    this.draw();
  }

  seek(time) {
    const within = Math.min(Math.max(0, time), this.duration);
    this.dispatchEvent(new CustomEvent("seek", { detail: within }));
  }

  pressed(event) {
    const places = { Home: 0, End: this.duration };
    const time = places[event.key] ?? this.time + (STEPS[event.key] ?? NaN);
    if (Number.isNaN(time)) return;
    event.preventDefault();
    this.seek(time);
  }

  draw() {
    const { canvas, bars } = this;
    const width = this.element.clientWidth;
    if (!width || !bars) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== HEIGHT * ratio) canvas.height = HEIGHT * ratio;
    const context = canvas.getContext("2d");
    const [played, coming] = [this.element, canvas].map((each) => getComputedStyle(each).color);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);
    const count = Math.floor(width / (WIDE + GAP));
    for (let n = 0; n < count; n++) {
      const [from, to] = [(n * bars.length) / count, ((n + 1) * bars.length) / count];
      const loud = bars.slice(Math.floor(from), Math.max(Math.ceil(to), Math.floor(from) + 1)).reduce((a, b) => Math.max(a, b), 0);
      const tall = Math.max(2, (loud / 255) * (HEIGHT - 4));
      context.fillStyle = (n / count) * this.duration <= this.time ? played : coming;
      context.fillRect(n * (WIDE + GAP), (HEIGHT - tall) / 2, WIDE, tall);
    }
  }
}
