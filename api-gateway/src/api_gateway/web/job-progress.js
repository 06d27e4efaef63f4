/**
 * Follows all jobs of this page with one request at a time. An event stream for each would need a connection for each, of which
 * browsers open six to a host.
 */

import { ParlandoError, RETRY_DELAYS_MS, delay } from "./errors.js";

const POLL_MS = 1000;
const FIRST_MS = 300;
const MAX_LISTED = 200; // by one request
const MAX_ASKED = 4; // jobs that aren't in the list, asked for one by one in a round

export class JobProgress {
  constructor(client) {
    this.client = client;
    this.followed = new Map(); // job id → {onchange, resolve, reject}
  }

  /**
   * Follow a job. Resolves when it is completed; rejects with a `ParlandoError` if it failed, was cancelled or is unknown.
   * `onchange` receives its status whenever it was asked for, and undefined while the cluster can't be reached.
   */
  follow(jobId, { onchange = () => {}, signal } = {}) {
    return new Promise((resolve, reject) => {
      this.followed.set(jobId, { onchange, resolve, reject });
      signal?.addEventListener("abort", () => this.end(jobId, "reject", signal.reason), { once: true });
      this.run();
    });
  }

  end(jobId, how, value) {
    this.followed.get(jobId)?.[how](value);
    this.followed.delete(jobId);
  }

  async run() {
    if (this.running) return;
    this.running = true;
    let failures = 0;
    await delay(FIRST_MS);
    while (this.followed.size) {
      try {
        await this.ask();
        failures = 0;
      } catch (error) {
        if ([401, 403].includes(error.status)) for (const id of [...this.followed.keys()]) this.end(id, "reject", error);
        for (const { onchange } of this.followed.values()) onchange(undefined);
        failures++;
      }
      await delay(failures ? RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length) - 1] : POLL_MS);
    }
    this.running = false;
  }

  async ask() {
    const missing = new Set(this.followed.keys());
    const { jobs } = await this.client.jobs.list({ limit: Math.min(MAX_LISTED, 2 * missing.size + 5) });
    for (const job of jobs) {
      if (missing.delete(job.job_id)) this.changed(job);
    }
    for (const id of [...missing].slice(0, MAX_ASKED)) {
      try {
        this.changed(await this.client.jobs.get(id));
      } catch (error) {
        if (error.status !== 404) throw error;
        this.end(id, "reject", error);
      }
    }
  }

  changed(job) {
    const { job_id: id, status, error } = job;
    if (status === "completed") this.end(id, "resolve", job);
    else if (status === "failed") this.end(id, "reject", new ParlandoError(error.code, error.message));
    else if (status === "cancelled") this.end(id, "reject", new ParlandoError("cancelled", "Cancelled."));
    else this.followed.get(id)?.onchange(job);
  }
}
