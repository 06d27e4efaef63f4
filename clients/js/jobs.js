/** Jobs: transcripts of recorded files, over REST. */

import { ParlandoError, responseError } from "./errors.js";

/** Recorded files. */
export class Jobs {
  constructor(client) {
    this.client = client;
  }

  /** Upload a file; resolves with the new job's status. `onprogress` receives the uploaded share, from 0 to 1. */
  submit(file, { onprogress = () => {}, signal, name, ...options } = {}) {
    const form = new FormData();
    for (const [field, value] of Object.entries(options)) form.append(field, String(value));
    form.append("file", file, name ?? file.name ?? "audio");
    if (typeof XMLHttpRequest === "undefined") return this.post("/v1/stt/jobs", form, signal);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch doesn't report the progress of an upload
      request.open("POST", this.client.address("/v1/stt/jobs"));
      if (this.client.apiKey) request.setRequestHeader("authorization", `Bearer ${this.client.apiKey}`);
      request.upload.onprogress = ({ loaded, total }) => onprogress(total ? loaded / total : 0);
      request.onload = () =>
        request.status < 300
          ? resolve(JSON.parse(request.responseText))
          : reject(responseError(request.status, request.responseText));
      request.onerror = () => reject(new ParlandoError("unreachable", "The connection was lost during the upload"));
      request.onabort = () => reject(new ParlandoError("aborted", "The upload was cancelled"));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  /** Resolves with the language of a file. `language`: codes separated by commas, among which it is detected. */
  detectLanguage(file, { language, name, signal } = {}) {
    const form = new FormData();
    if (language) form.append("language", language);
    form.append("file", file, name ?? file.name ?? "audio");
    return this.post("/v1/detect-language", form, signal);
  }

  async post(path, body, signal) {
    const { client } = this;
    const headers = client.apiKey ? { authorization: `Bearer ${client.apiKey}` } : {};
    const answer = await fetch(client.address(path), { method: "POST", body, headers, signal });
    if (!answer.ok) throw responseError(answer.status, await answer.text());
    return answer.json();
  }

  /** A job's events as they come: progress, segments, and its end. */
  events(jobId, { signal, onconnection } = {}) {
    const ends = ["completed", "failed", "cancelled"];
    return this.client.follow(`${this.path(jobId)}/events`, { signal, onconnection, ends });
  }

  /** Resolves with the completed job and its `result`. Rejects with a `ParlandoError` if it fails or is cancelled. */
  async wait(jobId, { onprogress = () => {}, signal } = {}) {
    for await (const event of this.events(jobId, { signal })) {
      onprogress(event.progress);
      if (event.type === "failed") throw new ParlandoError(event.error.code, event.error.message);
      if (event.type === "cancelled") throw new ParlandoError("cancelled", "The job was cancelled");
    }
    signal?.throwIfAborted();
    return this.get(jobId);
  }

  async get(jobId) {
    return (await this.client.request(this.path(jobId))).json();
  }

  async list({ limit = 20, before } = {}) {
    return (await this.client.request("/v1/stt/jobs", { query: { limit, before } })).json();
  }

  /** Cancel a job, or delete one that has ended. */
  async cancel(jobId) {
    return (await this.client.request(this.path(jobId), { method: "DELETE" })).json();
  }

  /** A completed job's result: JSON, or `text`, `srt`, `vtt`, `tsv`. */
  async result(jobId, format = "json") {
    const answer = await this.client.request(`${this.path(jobId)}/result`, { query: { format } });
    return format === "json" ? answer.json() : answer.text();
  }

  path(jobId) {
    return `/v1/stt/jobs/${encodeURIComponent(jobId)}`;
  }
}
