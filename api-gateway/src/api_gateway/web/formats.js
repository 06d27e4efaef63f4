/** Writers of finals as files. A final: {start, end, text, voice?}, times in seconds; `voice` is the speaker's name. */

import { clock } from "./dom.js";

function stamp(seconds, mark) {
  const ms = Math.round(seconds * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const whole = Math.floor(ms / 1000);
  const time = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(two).join(":");
  return `${time}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const line = ({ voice, text }) => (voice ? `${voice}: ${text}` : text);

/** The text with the speaker's name, if the turn begins here. */
const turn = (final, n, finals) => (final.voice === finals[n - 1]?.voice ? final.text : line(final));

export const FORMATS = {
  txt: ["text/plain", (finals) => finals.map((final) => `${line(final)}\n`).join("")],
  srt: [
    "application/x-subrip",
    (finals) =>
      finals
        .map((final, n) => `${n + 1}\n${stamp(final.start, ",")} --> ${stamp(final.end, ",")}\n${turn(final, n, finals)}\n`)
        .join("\n"),
  ],
  vtt: [
    "text/vtt",
    (finals) =>
      ["WEBVTT\n"]
        .concat(
          finals.map(({ start, end, text, voice }) => {
            const tag = voice ? `<v ${escaped(voice)}>` : "";
            return `${stamp(start, ".")} --> ${stamp(end, ".")}\n${tag}${escaped(text)}\n`;
          }),
        )
        .join("\n"),
  ],
  json: [
    "application/json",
    (finals, title) =>
      JSON.stringify(
        {
          title: title || undefined,
          text: finals.map(({ text }) => text).join(" "),
          segments: finals.map(({ start, end, text, original, translations, confidence, language, speaker, speaker_name }) => ({
            start,
            end,
            text,
            original,
            translations,
            confidence,
            language,
            speaker,
            speaker_name,
          })),
        },
        null,
        2,
      ),
  ],
};

/** Text for the clipboard: one line per final, with its time. */
export function plain(finals) {
  return finals.map((final) => `[${clock(final.start)}] ${line(final)}`).join("\n");
}
