/** Analyses: a recording is transcribed and analysed, and every step is reported; digests of live sessions. */

import { ParlandoError, responseError } from "./errors.js";

const ENDS = ["completed", "failed", "cancelled"];

/** What recordings and sessions contain. */
export class Analysis {
  constructor(client) {
    this.client = client;
  }

  /**
   * Upload a file and yield the updates of its task up to the last one (`step`: completed, failed or cancelled).
   * `partial_result` of `completed` has everything. After a lost connection the updates continue where they were, none
   * is given twice. The task goes on if you stop, unless `cancelOnDisconnect` is true or you call `cancel`.
   * `translateTo`: ISO 639 code of the language of a translation. `ontask` receives the task's id when it exists.
   */
  async *analyze(
    file,
    { name, language, translateTo, insights, cancelOnDisconnect, ontask = () => {}, signal, onconnection } = {},
  ) {
    const form = new FormData();
    if (language) form.append("language", language);
    if (translateTo) {
      form.append("include_translation", "true");
      form.append("target_language", translateTo);
    }
    form.append("include_insights", String(Boolean(insights)));
    form.append("cancel_on_disconnect", String(Boolean(cancelOnDisconnect)));
    form.append("audio", file, name ?? file.name ?? "audio");
    const answer = await this.begin(form, signal);
    const id = answer.headers.get("x-task-id");
    ontask(id);
    yield* this.follow(id, { signal, onconnection, body: answer.body });
  }

  /** A task's updates after number `after`, up to the last one; partial results are given as they come. */
  updates(id, { after = 0, signal, onconnection } = {}) {
    return this.follow(id, { after, signal, onconnection });
  }

  /** Resolves with a task: its status, its last update, and its result if it is completed. */
  async task(id) {
    return (await this.client.request(this.path(id))).json();
  }

  /** Cancel a task, or delete one that has ended, with its transcript and results. */
  async cancel(id) {
    return (await this.client.request(this.path(id), { method: "DELETE" })).json();
  }

  /** Resolves with what a live session contains so far: topics, key sentences, entities, questions, actions … */
  async digest(sessionId) {
    const path = `/v1/stt/sessions/${encodeURIComponent(sessionId)}/digest`;
    return (await this.client.request(path, { method: "POST" })).json();
  }

  /** @internal Upload the form; resolves with the response, whose body is the stream. */
  async begin(form, signal) {
    const credential = await this.client.credential();
    const headers = credential ? { authorization: `Bearer ${credential}` } : {};
    let answer;
    try {
      const address = this.client.address("/audio/process-stream-realtime");
      answer = await fetch(address, { method: "POST", body: form, headers, signal });
    } catch (error) {
      if (signal?.aborted) throw new ParlandoError("aborted", "The upload was cancelled");
      throw new ParlandoError("unreachable", `No gateway answers at ${this.client.url} (${error.message})`);
    }
    if (!answer.ok) throw responseError(answer.status, await answer.text());
    return answer;
  }

  /** @internal Updates from `body` if it is given, then from the task's own stream. */
  async *follow(id, { after = 0, ...more }) {
    const isLast = ({ step }) => ENDS.includes(step);
    for await (const update of this.client.follow(`${this.path(id)}/events`, { after, isLast, ...more })) {
      const seq = update.seq ?? 0; // null for a partial result
      if (seq && seq <= after && !isLast(update)) continue; // sent again because Redis had lost it
      after = Math.max(after, seq);
      yield update;
    }
  }

  path(id) {
    return `/audio/tasks/${encodeURIComponent(id)}`;
  }
}
