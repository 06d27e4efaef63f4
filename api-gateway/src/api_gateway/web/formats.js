/** Writers of finals as files. A final: {start, end, text}, times in seconds. */

import { clock } from "./dom.js";

function stamp(seconds, mark) {
  const ms = Math.round(seconds * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const whole = Math.floor(ms / 1000);
  const time = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(two).join(":");
  return `${time}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

export const FORMATS = {
  txt: ["text/plain", (finals) => finals.map(({ text }) => `${text}\n`).join("")],
  srt: [
    "application/x-subrip",
    (finals) =>
      finals
        .map(({ start, end, text }, n) => `${n + 1}\n${stamp(start, ",")} --> ${stamp(end, ",")}\n${text}\n`)
        .join("\n"),
  ],
  vtt: [
    "text/vtt",
    (finals) =>
      ["WEBVTT\n"]
        .concat(finals.map(({ start, end, text }) => `${stamp(start, ".")} --> ${stamp(end, ".")}\n${escaped(text)}\n`))
        .join("\n"),
  ],
  json: [
    "application/json",
    (finals, title) =>
      JSON.stringify(
        {
          title: title || undefined,
          text: finals.map(({ text }) => text).join(" "),
          segments: finals.map(({ start, end, text, confidence, language }) => ({
            start,
            end,
            text,
            confidence,
            language,
          })),
        },
        null,
        2,
      ),
  ],
};

/** Text for the clipboard: one line per final, with its time. */
export function plain(finals) {
  return finals.map(({ start, text }) => `[${clock(start)}] ${text}`).join("\n");
}
