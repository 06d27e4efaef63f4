/** A client of one cluster: REST calls, event streams, and the start of live sessions. */

import { Analysis } from "./analysis.js";
import { ParlandoError, RETRY_DELAYS_MS, delay, responseError } from "./errors.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { LiveSession } from "./live-session.js";
import { KnownSpeakers } from "./known-speakers.js";
import { Owners } from "./owners.js";
import { Songs } from "./songs.js";
import { Usage } from "./usage.js";

// After Redis has lost its data, a session and its viewer tokens are unknown until the owner reopens the session.
// A viewer tries again for this long before it gives up.
const REOPEN_WAIT_MS = 60_000;

/** One cluster. */
export class ParlandoClient {
  /**
   * @param {string} [url] address of a gateway; the page's own origin by default
   * @param {{apiKey?: string, token?: string | (() => string | Promise<string>)}} [options] `token`: in place of a key;
   *   a function returns one for each request and connection, because tokens expire
   */
  constructor(url = globalThis.location?.origin ?? "http://127.0.0.1:8000", { apiKey = "", token = "" } = {}) {
    this.url = url.replace(/^ws/, "http").replace(/\/+$/, "");
    this.apiKey = apiKey;
    this.token = token;
    this.keys = new Keys(this);
    this.owners = new Owners(this);
    this.jobs = new Jobs(this);
    this.songs = new Songs(this);
    this.speakers = new KnownSpeakers(this);
    this.analysis = new Analysis(this);
    this.usage = new Usage(this);
    this.shared = new Map(); // session id → viewer id → {label, token}, to restore them if Redis loses its data
  }

  /** Open a live session, or resume one (`resume`). It connects at once. */
  live(options = {}) {
    return new LiveSession(this, options);
  }

  /** All finals of a session so far: JSON, or text in another format. */
  async transcript(sessionId, { format = "json", token } = {}) {
    const answer = await this.request(`/v1/stt/sessions/${encodeURIComponent(sessionId)}/transcript`, {
      query: { format },
      token,
    });
    return format === "json" ? answer.json() : answer.text();
  }

  /**
   * Write a transcript ({title, language, segments}), such as a corrected one, as a file of a format. Nothing is stored.
   * Resolves with a Blob.
   */
  async write(transcript, { format = "text", speakers, maxLineChars, maxLines, maxCueSeconds, signal } = {}) {
    const query = { format, speakers, max_line_chars: maxLineChars, max_lines: maxLines, max_cue_s: maxCueSeconds };
    return (await this.request("/v1/stt/export", { method: "POST", query, json: transcript, signal })).blob();
  }

  /**
   * Follow a session: all kept events from its beginning, then live ones, until the session closes. `annotations`: also
   * annotations, such as the names of speakers.
   */
  watch(sessionId, { token, signal, onconnection, annotations } = {}) {
    const path = `/v1/stt/sessions/${encodeURIComponent(sessionId)}/events${annotations ? "?annotations=true" : ""}`;
    return this.follow(path, { token, signal, onconnection, ends: ["closed", "revoked"], reopenWaitMs: REOPEN_WAIT_MS });
  }

  /** Create a viewer token for a session; needs a key, not a token. Resolves with the token and the URL of the viewers' page. */
  async share(sessionId, { label = "" } = {}) {
    const viewer = await (await this.request(this.viewersPath(sessionId), { method: "POST", json: { label } })).json();
    const shared = this.shared.get(sessionId) ?? new Map();
    this.shared.set(sessionId, shared.set(viewer.viewer_id, { label, token: viewer.token }));
    return viewer;
  }

  /** @internal Register a session's viewer tokens again after Redis has lost its data. */
  async shareAgain(sessionId) {
    for (const [, viewer] of this.shared.get(sessionId) ?? []) {
      await this.request(this.viewersPath(sessionId), { method: "POST", json: viewer });
    }
  }

  async viewers(sessionId) {
    return (await (await this.request(this.viewersPath(sessionId))).json()).viewers;
  }

  async revoke(sessionId, viewerId) {
    await this.request(`${this.viewersPath(sessionId)}/${encodeURIComponent(viewerId)}`, { method: "DELETE" });
    this.shared.get(sessionId)?.delete(viewerId);
  }

  /** Resolves with the names that a session's speakers were given: label → name. */
  async speakerNames(sessionId, { token } = {}) {
    return (await (await this.request(this.speakersPath(sessionId), { token })).json()).names;
  }

  /** Give a session's speaker a name, which all readers see; null takes it away. Resolves with all names. */
  nameSpeaker(sessionId, speaker, name) {
    return this.rename(this.speakersPath(sessionId), speaker, name);
  }

  /**
   * Correct the text of a session's segment, which all readers see; null shows again what was recognised. Resolves with
   * the segment's correction.
   */
  async correct(sessionId, segment, text) {
    const path = `/v1/stt/sessions/${encodeURIComponent(sessionId)}/corrections/${segment}`;
    const change = text === null ? { method: "DELETE" } : { method: "PUT", json: { text } };
    return (await this.request(path, change)).json();
  }

  /** Resolves with the corrected segments of a session: [{segment, text, original}]. */
  async corrections(sessionId, { token } = {}) {
    const path = `/v1/stt/sessions/${encodeURIComponent(sessionId)}/corrections`;
    return (await (await this.request(path, { token })).json()).corrections;
  }

  speakersPath(sessionId) {
    return `/v1/stt/sessions/${encodeURIComponent(sessionId)}/speakers`;
  }

  /** @internal */
  async rename(path, speaker, name) {
    const change = name ? { method: "PUT", json: { name } } : { method: "DELETE" };
    return (await (await this.request(`${path}/${encodeURIComponent(speaker)}`, change)).json()).names;
  }

  async cluster() {
    return (await this.request("/v1/cluster")).json();
  }

  /** The cluster's state, every second. */
  watchCluster({ signal, onconnection } = {}) {
    return this.follow("/v1/cluster/events", { signal, onconnection, ends: [] });
  }

  viewersPath(sessionId) {
    return `/v1/stt/sessions/${encodeURIComponent(sessionId)}/viewers`;
  }

  address(path, query = {}) {
    const address = new URL(this.url + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, String(value));
    }
    return address;
  }

  /** @internal The key or token to send; a promise if a function gives it. */
  credential() {
    return (typeof this.token === "function" ? this.token() : this.token) || this.apiKey;
  }

  /** @internal One HTTP request. An error response rejects with a `ParlandoError` that has the server's message. */
  async request(path, { method = "GET", query, json, body, headers = {}, token, signal } = {}) {
    const { apiKey } = this;
    const credential = token || (await this.credential());
    const answer = await fetch(this.address(path, query), {
      method,
      signal,
      headers: {
        ...(credential ? { authorization: `Bearer ${credential}` } : {}),
        ...(json ? { "content-type": "application/json" } : {}),
        ...headers,
      },
      body: json ? JSON.stringify(json) : body,
    });
    if (!answer.ok) throw this.failure(apiKey, answer.status, await answer.text());
    return answer;
  }

  /** @internal The error of a request that was sent when `apiKey` was the key. */
  failure(apiKey, status, text) {
    return Object.assign(responseError(status, text), { outdated: apiKey !== this.apiKey });
  }

  /**
   * @internal Upload a file in a form; resolves with the answer. Fields that are undefined are left out.
   * `onprogress` receives the uploaded share, from 0 to 1.
   */
  async upload(path, file, { name, fields = {}, onprogress = () => {}, signal }) {
    const form = new FormData();
    for (const [field, value] of Object.entries(fields)) if (value !== undefined) form.append(field, String(value));
    form.append("file", file, name ?? file.name ?? "audio");
    const { apiKey } = this;
    const credential = await this.credential();
    const headers = credential ? { authorization: `Bearer ${credential}` } : {};
    if (typeof XMLHttpRequest === "undefined") {
      const answer = await fetch(this.address(path), { method: "POST", body: form, headers, signal });
      if (!answer.ok) throw this.failure(apiKey, answer.status, await answer.text());
      return answer.json();
    }
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch doesn't report the progress of an upload
      request.open("POST", this.address(path));
      for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
      request.upload.onprogress = ({ loaded, total }) => onprogress(total ? loaded / total : 0);
      request.onload = () =>
        request.status < 300
          ? resolve(JSON.parse(request.responseText))
          : reject(this.failure(apiKey, request.status, request.responseText));
      request.onerror = () => reject(new ParlandoError("unreachable", "The connection was lost during the upload"));
      request.onabort = () => reject(new ParlandoError("aborted", "The upload was cancelled"));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  /**
   * @internal Server-sent events, with reconnection. Uses `fetch`, because an EventSource can't send a key.
   * `ends`: types of the last event; `isLast` says it otherwise. `reopenWaitMs`: for how long after a broken connection
   * 401 and 404 are tried again instead of thrown. `after`: id of the last event that is known. `body`: of a response
   * that has begun already, with which it starts.
   */
  async *follow(path, { token, signal, onconnection = () => {}, ends = [], reopenWaitMs = 0, ...more }) {
    let { after, body, isLast = (event) => ends.includes(event.type) } = more;
    let lastId = after ? String(after) : "";
    let brokenAt; // when a connection that had been established ended
    for (let failures = 0; !signal?.aborted; failures++) {
      if (failures) await delay(RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length) - 1], signal);
      try {
        const headers = lastId ? { "last-event-id": lastId } : {};
        body ??= (await this.request(path, { token, signal, headers })).body;
        if (!body) return; // 204: there are no further events
      } catch (error) {
        if (signal?.aborted) return;
        const mayReopen = brokenAt && Date.now() - brokenAt < reopenWaitMs && [401, 404].includes(error.status);
        if (error instanceof ParlandoError && error.status < 500 && !mayReopen) throw error;
        onconnection(false, error);
        continue;
      }
      onconnection(true);
      try {
        for await (const { id, event } of serverSentEvents(body)) {
          failures = 0;
          if (id) lastId = id;
          yield event;
          if (isLast(event)) return;
        }
      } catch (error) {
        if (signal?.aborted) return;
        onconnection(false, error);
      }
      body = undefined;
      brokenAt = Date.now();
    }
  }
}

async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const fields = text.slice(0, end).split("\n").map((line) => line.split(/: ?(.*)/s));
        const data = fields.filter(([name]) => name === "data").map(([, value]) => value);
        const id = fields.find(([name]) => name === "id")?.[1] ?? "";
        if (data.length) yield { id, event: JSON.parse(data.join("\n")) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
