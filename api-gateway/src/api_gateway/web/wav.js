/** WAV files of recorded audio. */

const RATE = 16_000;
export const BYTES_PER_SECOND = 2 * RATE;

/** A WAV of frames of 16 kHz mono PCM16, buffers or blobs. */
export function wav(frames) {
  const size = frames.reduce((sum, frame) => sum + (frame.byteLength ?? frame.size), 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, place) => header.setUint8(at + place, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, RATE, true);
  header.setUint32(28, BYTES_PER_SECOND, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, size, true);
  return new Blob([header, ...frames], { type: "audio/wav" });
}
