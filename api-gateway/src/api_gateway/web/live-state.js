/** The state of a live session in plain words. */

const LATE_MS = 1500; // a larger delay is shown

const seconds = (ms) => `${Math.max(1, Math.round(ms / 1000))} s`;

/** [state for the style, text] of the Live view; `lag`: milliseconds of stored audio whose words are still to come. */
export function describe({ session, capturing, ended, lag }) {
  if (!session) return ["idle", ended ? "Ended" : "Ready"];
  const waiting = session.unackedMs;
  if (session.state === "connecting") return ["connecting", "Connecting"];
  if (session.state === "reconnecting") {
    return ["reconnecting", `No connection. Recording continues, ${seconds(waiting)} are kept here until it is back`];
  }
  if (session.throttled) return ["late", `Very busy: ${seconds(waiting)} of sound are kept here until there is room`];
  if (session.ending) return ["open", "Writing the last words"];
  if (lag + waiting > LATE_MS) return ["late", `Words come ${seconds(lag + waiting)} late`];
  return capturing ? ["open", "Listening"] : ["idle", "Paused"];
}

/** Whether what was waiting for the connection has been sent. */
export const caughtUp = (session) => session?.state === "open" && session.unackedMs < LATE_MS;
