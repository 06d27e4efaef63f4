/** The dialog that writes a transcript as a file: its format, and the options of subtitles. The gateway writes it. */

import { explain, fileName, make, save, showNotice } from "./dom.js";
import { FORMATS as WRITERS } from "./formats.js";

const FORMATS = {
  txt: { name: "Text (TXT)", form: "text", speakers: true },
  docx: { name: "Document (DOCX)", form: "docx", speakers: true },
  srt: { name: "Subtitles (SRT)", form: "srt", speakers: true, cues: true },
  vtt: { name: "Subtitles for the web (VTT)", form: "vtt", speakers: true, cues: true, words: "Mark each word when it is spoken" },
  ass: { name: "Subtitles with styles (ASS)", form: "ass", speakers: true, cues: true },
  csv: { name: "Table (CSV)", form: "csv", speakers: true },
  json: { name: "Data (JSON)", words: "Times of the words" },
};
const STORED = "parlando.export";

/** One dialog for all files; `open` shows it for a transcript. */
export class ExportDialog {
  constructor(client) {
    this.client = client;
    const options = Object.entries(FORMATS).map(([ending, { name }]) => new Option(name, ending));
    this.format = make("select", {});
    this.format.append(...options);
    this.chars = number(42, 10, 200);
    this.lines = number(2, 1, 4);
    this.seconds = number(7, 1, 30);
    this.speakers = make("input", { type: "checkbox", checked: true });
    this.words = make("input", { type: "checkbox" });
    this.speakersLabel = make("label", { className: "inline" }, this.speakers, "Names of the speakers");
    this.wordsText = make("span");
    this.wordsLabel = make("label", { className: "inline" }, this.words, this.wordsText);
    this.cues = make("fieldset", { className: "cues" }, make("legend", {}, "Subtitles"));
    this.cues.append(labelled("Characters in a line", this.chars), labelled("Lines", this.lines), labelled("Seconds", this.seconds));
    this.notice = make("p", { className: "notice", role: "status", hidden: true });
    this.button = make("button", { className: "primary", type: "submit" }, "Download");
    const cancel = make("button", { type: "button", className: "quiet" }, "Cancel");
    cancel.addEventListener("click", () => this.element.close());
    const form = make("form", { method: "dialog" }, make("h2", { id: "export-title" }, "Export"), labelled("Format", this.format));
    form.append(this.speakersLabel, this.wordsLabel, this.cues, this.notice);
    form.append(make("div", { className: "actions" }, cancel, this.button));
    this.element = make("dialog", { id: "export", "aria-labelledby": "export-title" }, form);
    document.body.append(this.element);
    this.format.addEventListener("change", () => this.draw());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.download();
    });
    this.recall();
  }

  /** `transcript`: {title, language, segments}; `name`: of the file, without an ending. */
  open({ name, transcript }) {
    Object.assign(this, { name, transcript });
    showNotice(this.notice, "");
    this.draw();
    this.element.showModal();
  }

  draw() {
    const { cues, words, speakers } = FORMATS[this.format.value];
    const spoken = this.transcript?.segments.some(({ speaker }) => speaker);
    this.cues.hidden = !cues;
    this.wordsLabel.hidden = !words;
    this.wordsText.textContent = words ?? "";
    this.speakersLabel.hidden = !speakers || !spoken;
  }

  async download() {
    this.button.disabled = true;
    try {
      const ending = this.format.value;
      save(fileName(this.name, ending), await this.written(ending), "");
      this.remember();
      this.element.close();
    } catch (error) {
      showNotice(this.notice, explain(error), "bad");
    } finally {
      this.button.disabled = false;
    }
  }

  /** The file as a Blob. JSON and plain text are written here if no gateway answers; the other formats need one. */
  async written(ending) {
    const { transcript, speakers, words } = this;
    const named = speakers.checked;
    if (ending === "json") return new Blob([json(transcript, words.checked)], { type: "application/json" });
    const format = ending === "vtt" && words.checked ? "karaoke" : FORMATS[ending].form;
    const cues = FORMATS[ending].cues
      ? { maxLineChars: this.chars.value, maxLines: this.lines.value, maxCueSeconds: this.seconds.value }
      : {};
    try {
      return await this.client.write(transcript, { format, speakers: named, ...cues });
    } catch (error) {
      if (ending !== "txt" || !(error instanceof TypeError)) throw error;
      return new Blob([plain(transcript, named)], { type: "text/plain" });
    }
  }

  // --- what was chosen last -----------------------------------------------------------------------------

  remember() {
    const { format, chars, lines, seconds, speakers, words } = this;
    const chosen = { format: format.value, chars: chars.value, lines: lines.value, seconds: seconds.value };
    localStorage.setItem(STORED, JSON.stringify({ ...chosen, speakers: speakers.checked, words: words.checked }));
  }

  recall() {
    let chosen = {};
    try {
      chosen = JSON.parse(localStorage.getItem(STORED)) ?? {};
    } catch {
      // as if nothing was stored
    }
    if (chosen.format in FORMATS) this.format.value = chosen.format;
    for (const name of ["chars", "lines", "seconds"]) if (chosen[name]) this[name].value = chosen[name];
    for (const name of ["speakers", "words"]) if (typeof chosen[name] === "boolean") this[name].checked = chosen[name];
  }
}

const number = (value, min, max) => make("input", { type: "number", required: true, min, max, value });
const labelled = (text, input) => make("label", {}, make("span", {}, text), input);

function json({ title, language, segments }, words) {
  const kept = words ? segments : segments.map(({ words: _, ...each }) => each);
  return JSON.stringify({ title, language, text: segments.map(({ text }) => text).join(" "), segments: kept }, null, 2);
}

function plain({ segments }, named) {
  const [, write] = WRITERS.txt;
  const spoken = segments.filter(({ text }) => text);
  return write(spoken.map((each) => ({ ...each, voice: named ? (each.speaker_name ?? each.speaker) : undefined })));
}
