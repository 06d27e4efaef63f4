/** Resumable uploads (tus 1.0.0): large files that continue after a lost connection, or after a page is loaded again. */

import { ParlandoError, RETRY_DELAYS_MS, delay } from "./errors.js";

/** Bytes from which on files are uploaded in this way. */
export const RESUMABLE_FROM = 32 << 20;

const REQUEST = 8 << 20; // bytes per request: `fetch` tells no progress within one
const ATTEMPTS = 100; // maximum consecutive attempts without a byte stored: about five minutes
const RETRIED = [408, 409, 429, 502, 503, 504];
const GONE = [404, 410];

/** One file on its way to a gateway. */
export class ResumableUpload {
  constructor(client, file, { name, onprogress = () => {}, signal }) {
    this.client = client;
    this.file = file;
    this.name = name ?? file.name ?? "audio";
    this.onprogress = onprogress;
    this.signal = signal;
    this.path = readNote(this.note);
    this.continued = Boolean(this.path); // whether it was begun before this page was loaded
  }

  /** Upload what the gateway doesn't have yet. Resolves with the upload's id. */
  async run() {
    let stored = -1;
    for (let failures = 0; ; failures++) {
      this.signal?.throwIfAborted();
      if (failures) await delay(RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length) - 1], this.signal);
      this.signal?.throwIfAborted();
      try {
        this.path ??= await this.create();
        let offset = offsetIn(await this.ask("HEAD", this.path));
        for (;;) {
          this.onprogress(offset / this.file.size);
          if (offset > stored) [failures, stored] = [0, offset];
          if (offset >= this.file.size) return this.path.split("/").pop();
          const headers = { "upload-offset": String(offset), "content-type": "application/offset+octet-stream" };
          const body = this.file.slice(offset, offset + REQUEST);
          offset = offsetIn(await this.ask("PATCH", this.path, { headers, body }));
        }
      } catch (error) {
        if (this.signal?.aborted) throw new ParlandoError("aborted", "The upload was cancelled");
        const { status } = error;
        if (GONE.includes(status) && this.path) this.forget(); // it has expired, or Redis has lost its data
        else if (status && !RETRIED.includes(status)) throw error;
        if (failures >= ATTEMPTS) throw error;
      }
    }
  }

  /** Forget the upload: a job has the file, or it can't be used any more. */
  forget() {
    this.path = undefined;
    writeNote(this.note, undefined);
  }

  async create() {
    const name = btoa(String.fromCharCode(...new TextEncoder().encode(this.name)));
    const headers = { "upload-length": String(this.file.size), "upload-metadata": `filename ${name}` };
    const answer = await this.ask("POST", "/v1/uploads", { headers });
    const path = `/v1/uploads/${(answer.headers.get("location") ?? "").split("/").pop()}`;
    writeNote(this.note, path);
    this.continued = false;
    return path;
  }

  ask(method, path, { headers = {}, body } = {}) {
    headers = { "tus-resumable": "1.0.0", ...headers };
    return this.client.request(path, { method, headers, body, signal: this.signal });
  }

  /** The name under which the browser notes where the upload is. */
  get note() {
    return `parlando-upload ${this.client.url} ${this.name} ${this.file.size} ${this.file.lastModified ?? ""}`;
  }
}

function offsetIn(answer) {
  const offset = Number.parseInt(answer.headers.get("upload-offset") ?? "", 10);
  if (Number.isNaN(offset)) throw new ParlandoError("protocol", "The gateway's answer has no Upload-Offset");
  return offset;
}

function readNote(name) {
  try {
    return window.localStorage.getItem(name) ?? undefined;
  } catch {
    return undefined; // outside of browsers, or where storage isn't allowed
  }
}

function writeNote(name, path) {
  try {
    if (path) window.localStorage.setItem(name, path);
    else window.localStorage.removeItem(name);
  } catch {
    // the upload begins anew after the page is loaded again
  }
}
