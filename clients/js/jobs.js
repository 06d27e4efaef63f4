/** Jobs: transcripts of recorded files, over REST. */

import { ParlandoError } from "./errors.js";
import { RESUMABLE_FROM, ResumableUpload } from "./uploads.js";

const UNUSABLE = ["upload_not_found", "conflict"]; // refusals of a job whose upload can't be used

/** Recorded files. */
export class Jobs {
  constructor(client) {
    this.client = client;
  }

  /**
   * Upload a file; resolves with the new job's status. `onprogress` receives the uploaded share, from 0 to 1. Files of at
   * least `resumableFrom` bytes are uploaded resumably: after a lost connection the upload continues where it was.
   */
  async submit(file, { onprogress, signal, name, resumableFrom = RESUMABLE_FROM, ...fields } = {}) {
    if (file.size >= Math.max(1, resumableFrom)) {
      const upload = new ResumableUpload(this.client, file, { name, onprogress, signal });
      const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== "");
      return this.submitUpload(upload, Object.fromEntries(given), signal);
    }
    return this.client.upload("/v1/stt/jobs", file, { name, fields, onprogress, signal });
  }

  /**
   * @internal Upload a file and submit its job; once more if the upload was begun before the page was loaded, and can't be
   * used any more: it has expired, or belongs to a job with other options.
   */
  async submitUpload(upload, options, signal) {
    for (;;) {
      const json = { upload: await upload.run(), ...options };
      const { continued } = upload;
      try {
        const job = await (await this.client.request("/v1/stt/jobs", { method: "POST", json, signal })).json();
        upload.forget();
        return job;
      } catch (error) {
        if (!UNUSABLE.includes(error.code)) throw error;
        upload.forget();
        if (!continued) throw error;
      }
    }
  }

  /** Resolves with the language of a file. `language`: codes separated by commas, among which it is detected. */
  detectLanguage(file, { language, name, signal } = {}) {
    return this.client.upload("/v1/detect-language", file, { name, fields: { language }, signal });
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

  /** A completed job's result: JSON, or text as `text`, `srt`, `vtt`, `ass`, `karaoke`, `tsv`, `csv`; `docx` is a Blob. */
  async result(jobId, format = "json") {
    const answer = await this.client.request(`${this.path(jobId)}/result`, { query: { format } });
    if (format === "docx") return answer.blob();
    return format === "json" ? answer.json() : answer.text();
  }

  /** Resolves with the names that a job's speakers were given: label → name. */
  async speakerNames(jobId) {
    return (await (await this.client.request(`${this.path(jobId)}/speakers`)).json()).names;
  }

  /** Give a job's speaker a name, in its result and all exports; null takes it away. Resolves with all names. */
  nameSpeaker(jobId, speaker, name) {
    return this.client.rename(`${this.path(jobId)}/speakers`, speaker, name);
  }

  path(jobId) {
    return `/v1/stt/jobs/${encodeURIComponent(jobId)}`;
  }
}
