/**
 * Runs on the browser's audio thread: mixes the input to mono, resamples it to 16 kHz, and posts frames of
 * 16-bit PCM. `Resampler` uses no browser API, so that it can be tested outside a browser.
 */

export const RATE = 16000;
const HALF_WIDTH = 24; // zero crossings of the sinc on either side
const BETA = 9; // of the Kaiser window: about 90 dB stop-band attenuation
const CUTOFF = 0.93; // as a share of the lower Nyquist frequency; the transition band ends at 1

/** Streaming resampler to 16 kHz: a windowed-sinc polyphase filter. */
export class Resampler {
  /** @param {number} inputRate input samples per second; a whole number */
  constructor(inputRate) {
    const common = gcd(inputRate, RATE);
    this.phases = RATE / common;
    this.step = inputRate / common; // the input position moves by step / phases per output sample
    const scale = Math.min(1, RATE / inputRate) * CUTOFF;
    this.half = Math.ceil(HALF_WIDTH / scale);
    this.taps = Array.from({ length: this.phases }, (_, phase) =>
      kernel(phase / this.phases, this.half, scale),
    );
    this.history = new Float32Array(2 * this.half); // zeros before the first sample
    this.numerator = 0; // position of the next output in `history`, in units of 1 / phases
  }

  /**
   * @param {Float32Array} input
   * @returns {Float32Array} the output samples that the input so far completes
   */
  push(input) {
    const samples = new Float32Array(this.history.length + input.length);
    samples.set(this.history);
    samples.set(input, this.history.length);
    const output = [];
    for (;;) {
      const first = Math.floor(this.numerator / this.phases);
      if (first + 2 * this.half > samples.length) break;
      const taps = this.taps[this.numerator % this.phases];
      let sum = 0;
      for (let i = 0; i < taps.length; i++) sum += samples[first + i] * taps[i];
      output.push(sum);
      this.numerator += this.step;
    }
    const used = Math.min(Math.floor(this.numerator / this.phases), samples.length);
    this.numerator -= used * this.phases;
    this.history = samples.slice(used);
    return Float32Array.from(output);
  }
}

function kernel(fraction, half, scale) {
  const taps = new Float32Array(2 * half);
  let sum = 0;
  for (let i = 0; i < taps.length; i++) {
    const x = i - (half - 1) - fraction;
    const place = x / half;
    const angle = Math.PI * x * scale;
    const sinc = x === 0 ? 1 : Math.sin(angle) / angle;
    taps[i] = Math.abs(place) < 1 ? (sinc * bessel(BETA * Math.sqrt(1 - place * place))) / bessel(BETA) : 0;
    sum += taps[i];
  }
  return taps.map((tap) => tap / sum);
}

/** The modified Bessel function of order zero, by its series. */
function bessel(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-10 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

/** @param {Float32Array} samples between -1 and 1 @returns {Int16Array} */
export function toPcm16(samples) {
  return Int16Array.from(samples, (x) => Math.round(Math.max(-1, Math.min(1, x)) * 32767));
}

if (typeof AudioWorkletProcessor === "function") {
  class Capture extends AudioWorkletProcessor {
    constructor({ processorOptions: { frameMs } }) {
      super();
      this.resampler = new Resampler(sampleRate);
      this.frame = new Float32Array((RATE * frameMs) / 1000);
      this.filled = 0;
      this.open = true;
      this.port.onmessage = ({ data }) => {
        if (data === "stop") {
          this.post();
          this.port.postMessage({ stopped: true });
          this.open = false;
        }
      };
    }

    process([input]) {
      if (input.length) {
        const mono = new Float32Array(input[0].length);
        for (const channel of input) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / input.length;
        this.take(this.resampler.push(mono));
      }
      return this.open;
    }

    take(samples) {
      for (const sample of samples) {
        this.frame[this.filled++] = sample;
        if (this.filled === this.frame.length) this.post();
      }
    }

    post() {
      if (!this.filled) return;
      const samples = this.frame.subarray(0, this.filled);
      const peak = samples.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
      const { buffer } = toPcm16(samples);
      this.filled = 0;
      this.port.postMessage({ pcm: buffer, peak }, [buffer]);
    }
  }
  registerProcessor("parlando-capture", Capture);
}
