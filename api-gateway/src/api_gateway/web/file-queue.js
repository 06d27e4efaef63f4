/** The progress of all files that were added together, and the time that is left. */

import { $ } from "./dom.js";

const UPLOAD = 0.3; // share of the upload in a file's progress
const LEAST_SHARE = 0.02; // below it nothing can be said about the time
const ENDED = ["done", "failed", "removed"];

/** The share that is done, 0 to 1, of files {size, uploaded, transcribed, state}; large files count more. */
export function shareOf(files) {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  if (!total) return 0;
  const done = ({ size, uploaded, transcribed, state }) =>
    size * (ENDED.includes(state) ? 1 : UPLOAD * uploaded + (1 - UPLOAD) * transcribed);
  return files.reduce((sum, file) => sum + done(file), 0) / total;
}

/** The seconds that are left after `elapsed` seconds; undefined as long as too little is done to tell. */
export function secondsLeft(share, elapsed) {
  return share < LEAST_SHARE || elapsed <= 0 ? undefined : (elapsed * (1 - share)) / share;
}

/** "about 3 min left"; empty if the time isn't known. */
export function leftText(seconds) {
  if (seconds === undefined || seconds === null || !Number.isFinite(seconds)) return "";
  if (seconds < 10) return "a few seconds left";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} s left`;
  if (seconds < 90 * 60) return `about ${Math.max(1, Math.round(seconds / 60))} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}

/** The bar above the list. Files that are added while others are at work belong to the same batch. */
export class FileQueue {
  /** `cancel`: called with the cards of the batch that haven't ended. */
  constructor(cancel) {
    this.cards = [];
    $("files-queue-cancel").addEventListener("click", () => cancel(this.pending()));
  }

  add(card) {
    if (!this.pending().length) {
      this.cards = [];
      this.begun = performance.now();
    }
    this.cards.push(card);
    card.addEventListener("progress", () => this.draw());
    this.draw();
  }

  pending() {
    return this.cards.filter(({ work }) => !ENDED.includes(work.state));
  }

  draw() {
    const files = this.cards.map(({ work }) => work).filter(({ state }) => state !== "removed");
    const pending = this.pending().length;
    $("files-queue").hidden = !pending || files.length < 2;
    if (!pending) return;
    const share = shareOf(files);
    const left = leftText(secondsLeft(share, (performance.now() - this.begun) / 1000));
    const text = `${files.length - pending} of ${files.length} files done${left ? `, ${left}` : ""}`;
    $("files-queue-progress").value = share;
    if ($("files-queue-text").textContent !== text) $("files-queue-text").textContent = text;
  }
}
