/**
 * Parlando from JavaScript: live sessions that survive lost connections, the microphone, jobs, analyses, songs, viewers.
 * No dependencies, for browsers and for Node 22 or newer (all but `Capture`). Types: parlando.d.ts.
 */

export { Analysis } from "./analysis.js";
export { Capture } from "./capture.js";
export { ParlandoClient } from "./client.js";
export { ParlandoError } from "./errors.js";
export { Jobs } from "./jobs.js";
export { LiveSession } from "./live-session.js";
export { Keys } from "./keys.js";
export { KnownSpeakers } from "./known-speakers.js";
export { Owners } from "./owners.js";
export { Songs } from "./songs.js";
export { Usage } from "./usage.js";
