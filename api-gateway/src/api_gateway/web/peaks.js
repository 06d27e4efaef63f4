/**
 * The loudness of a recording over its time, for the waveform. Computed in this browser with bounded memory: a WAV file of any length
 * is read in pieces, long MP3 and AAC files are decoded in pieces, other files are decoded whole if they are short.
 */

export const BARS = 600;

const SHORT_S = 600; // decoded whole: at most about 250 MB for a moment
const SHORT_BYTES = 64 << 20;
const RATE = 8000; // of decoded sound; enough for its loudness
const PIECE = 64 << 10; // bytes that are read of each bar of a long file
const HEAD = 1 << 20; // bytes in which a WAV file's data must begin
const MIN_DECODED = 0.5; // share of a long file's pieces that must be decodable
const FRAMED = /^(audio\/(mpeg|mp3|aac|aacp))$|\.(mp3|aac)$/i; // formats whose pieces can be decoded by themselves

/**
 * Loudness of each of `BARS` equal parts, 0 to 255 (of the loudest), as a Uint8Array; null if this browser can't decode the file.
 * `duration`: in seconds.
 */
export async function peaksOf(file, duration, { signal } = {}) {
  try {
    const wav = await wavOf(file);
    if (wav) return scaled(await ofWav(file, wav, signal));
    if (duration <= SHORT_S && file.size <= SHORT_BYTES) return scaled(ofSound(await decoded(await file.arrayBuffer())));
    if (FRAMED.test(file.type) || FRAMED.test(file.name ?? "")) return await ofPieces(file, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof DOMException || error instanceof RangeError)) throw error;
  }
  return null; // a format that this browser doesn't decode
}

/** Where words are, in the same form: the share of each part that has any. */
export function spokenBars(segments, duration) {
  const bars = new Float32Array(BARS);
  const wide = duration / BARS || 1;
  const spans = segments.flatMap(({ start, end, words }) => (words?.length ? words : [{ start, end }]));
  for (const { start, end } of spans) {
    for (let bar = Math.floor(start / wide); bar < BARS && bar * wide < end; bar++) {
      bars[bar] += Math.max(0, Math.min(end, (bar + 1) * wide) - Math.max(start, bar * wide)) / wide;
    }
  }
  return Uint8Array.from(bars, (share) => Math.min(1, share) * 160);
}

function decoded(bytes) {
  return new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
}

function ofSound(sound) {
  const channels = Array.from({ length: sound.numberOfChannels }, (_, n) => sound.getChannelData(n));
  const wide = sound.length / BARS;
  return Float32Array.from({ length: BARS }, (_, bar) => {
    const [from, to] = [Math.floor(bar * wide), Math.floor((bar + 1) * wide)];
    return Math.max(...channels.map((samples) => loudness(samples, from, to)));
  });
}

/** Root mean square of some samples. */
function loudness(samples, from, to) {
  let sum = 0;
  for (let n = from; n < to; n++) sum += samples[n] * samples[n];
  return Math.sqrt(sum / Math.max(1, to - from));
}

function scaled(bars) {
  const loudest = bars.reduce((most, each) => Math.max(most, each), 0) || 1;
  return Uint8Array.from(bars, (each) => Math.round((each / loudest) * 255));
}

// --- WAV ------------------------------------------------------------------------------------------------

/** Where the samples of a WAV file are, and what they are; undefined for other files and rare encodings. */
async function wavOf(file) {
  const view = new DataView(await file.slice(0, HEAD).arrayBuffer());
  const name = (at) => (at + 4 <= view.byteLength ? String.fromCharCode(...new Uint8Array(view.buffer, at, 4)) : "");
  if (name(0) !== "RIFF" || name(8) !== "WAVE") return undefined;
  let format;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    if (name(at) === "fmt " && at + 26 <= view.byteLength) {
      const [kind, channels, bits] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true), view.getUint16(at + 22, true)];
      const number = kind === 0xfffe && at + 34 <= view.byteLength ? view.getUint16(at + 32, true) : kind;
      format = { float: number === 3, channels, bits, known: number === 3 ? bits === 32 : number === 1 && [16, 24, 32].includes(bits) };
    } else if (name(at) === "data") {
      if (!format?.known || !format.channels) return undefined;
      const from = at + 8;
      return { ...format, from, bytes: Math.min(size || Infinity, file.size - from), block: (format.channels * format.bits) / 8 };
    }
    at += 8 + size + (size % 2);
  }
  return undefined;
}

async function ofWav(file, wav, signal) {
  const blocks = Math.floor(wav.bytes / wav.block);
  const bars = new Float32Array(BARS);
  for (let bar = 0; bar < BARS; bar++) {
    signal?.throwIfAborted();
    const [first, after] = [Math.floor((blocks * bar) / BARS), Math.floor((blocks * (bar + 1)) / BARS)];
    const count = Math.min(after - first, Math.floor(PIECE / wav.block));
    const from = wav.from + first * wav.block;
    const samples = samplesOf(await file.slice(from, from + count * wav.block).arrayBuffer(), wav);
    bars[bar] = loudness(samples, 0, samples.length);
  }
  return bars;
}

function samplesOf(bytes, { float, bits }) {
  if (float) return new Float32Array(bytes);
  const view = new DataView(bytes);
  const wide = bits / 8;
  return Float32Array.from({ length: Math.floor(bytes.byteLength / wide) }, (_, n) =>
    bits === 32 ? view.getInt32(n * 4, true) / 2 ** 31 : view.getInt16(n * wide + wide - 2, true) / 2 ** 15,
  );
}

// --- long files in frames -------------------------------------------------------------------------------

async function ofPieces(file, signal) {
  const pieces = Math.min(BARS / 2, Math.ceil(file.size / PIECE));
  const bars = new Float32Array(pieces).fill(-1);
  for (let n = 0; n < pieces; n++) {
    signal?.throwIfAborted();
    const from = Math.floor((file.size * n) / pieces);
    try {
      const sound = await decoded(await file.slice(from, from + PIECE).arrayBuffer());
      bars[n] = loudness(sound.getChannelData(0), 0, sound.length);
    } catch {
      // a piece without a whole frame
    }
  }
  if (bars.filter((each) => each >= 0).length < MIN_DECODED * pieces) return null;
  return scaled(Float32Array.from({ length: BARS }, (_, bar) => Math.max(0, bars[Math.floor((bar * pieces) / BARS)])));
}
