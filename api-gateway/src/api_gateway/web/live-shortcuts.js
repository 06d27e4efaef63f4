/** The keyboard shortcuts of the Live view. */

import { $ } from "./dom.js";

/** `live`: the view. Each entry: {keys, text, run}; `run` returns false if it can't be done now. */
export const liveShortcuts = (live) => [
  { keys: ["R"], text: "Start listening", run: () => live.phase === "start" && live.start() },
  { keys: ["P"], text: "Pause, or continue", run: () => live.pauseOrContinue() },
  { keys: ["S"], text: "Stop", run: () => live.phase === "live" && live.stop() },
  { keys: ["/"], text: "Search the transcript", run: () => live.phase !== "start" && live.search.open() },
  { keys: ["G", "End"], text: "Jump to the newest words", run: () => live.view.toEnd() },
  { keys: ["J"], text: "Next line", run: () => live.lines.move(1) },
  { keys: ["K"], text: "Line before", run: () => live.lines.move(-1) },
  { keys: ["E"], text: "Correct the line", run: () => live.lines.begin() },
  { keys: ["L"], text: "Play the recording from the line", run: () => live.lines.playLine() },
  { keys: [" "], text: "Play or pause the recording", run: () => live.playback.ready && live.playback.toggle() },
  { keys: ["C"], text: "Copy the transcript", run: () => !$("live-copy").disabled && live.takeaway.copy() },
];
