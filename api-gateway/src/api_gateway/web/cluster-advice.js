/** What needs attention in a cluster, and what to do about it. Pure: from the document of /v1/cluster to sentences. */

const SLOW_MS = 2000;

/** @returns {{kind: "bad" | "warn", text: string}[]} the most serious first */
export function advice(cluster) {
  const found = [];
  const bad = (text) => found.push({ kind: "bad", text });
  const warn = (text) => found.push({ kind: "warn", text });
  const { open, capacity, unassigned } = cluster.sessions;
  if (!cluster.transcribers.length) bad("No transcriber is running: nothing is recognised. Start one: python -m transcriber.");
  if (!cluster.audio_processors.length) {
    bad("No audio-processor is running: only 16 kHz PCM is taken live, and recordings wait. Start one: python -m audio_processor.");
  }
  if (cluster.transcribers.length && open >= capacity) {
    warn("All places are taken: new live sessions are refused. Start another transcriber.");
  }
  if (cluster.lag_ms > SLOW_MS) {
    warn(`Text is up to ${(cluster.lag_ms / 1000).toFixed(1)} s behind the audio: the transcribers have more to do than they can. Start another one.`);
  }
  if (unassigned || cluster.jobs.unassigned) {
    const what = [
      unassigned && counted(unassigned, "session"),
      cluster.jobs.unassigned && counted(cluster.jobs.unassigned, "recording"),
    ]
      .filter(Boolean)
      .join(" and ");
    warn(`${what} can't be done by any engine that runs. Start one for their language and task.`);
  }
  return found;
}

/** The state in one sentence. */
export function summary(cluster) {
  const { open, capacity } = cluster.sessions;
  if (!cluster.transcribers.length) return "No transcriber is running";
  const free = Math.max(0, capacity - open);
  return `Running: ${open ? counted(open, "live session") : "no live session"}, ${free} of ${capacity} places free`;
}

/** "1 session", "2 sessions". */
export function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
