/** Owners over REST: what they have, its export and deletion, for how long it is kept; and the audit log. */

/** The owners of a cluster. `owner`: the id that lists show, or `me`; others than one's own need the scope `admin`. */
export class Owners {
  constructor(client) {
    this.client = client;
  }

  /** All owners, with numbers of what they have; needs the scope `admin`. */
  async list() {
    return (await this.ask("")).owners;
  }

  get(owner = "me") {
    return this.ask(`/${encodeURIComponent(owner)}`);
  }

  /** Everything of an owner as a zip archive; resolves with the response, whose `body` is a stream. */
  export(owner = "me", { signal } = {}) {
    return this.client.request(`/v1/owners/${encodeURIComponent(owner)}/export`, { signal });
  }

  /** Delete everything of an owner; needs the scope `admin`. `complete`: nothing was left. */
  delete(owner) {
    return this.ask(`/${encodeURIComponent(owner)}`, { method: "DELETE" });
  }

  retention(owner = "me") {
    return this.ask(`/${encodeURIComponent(owner)}/retention`);
  }

  /** Set for how many days data is kept; 0 for the cluster's time, undefined to leave it as it is. */
  setRetention(owner = "me", { transcriptDays, audioDays } = {}) {
    const json = { transcript_days: transcriptDays, audio_days: audioDays };
    return this.ask(`/${encodeURIComponent(owner)}/retention`, { method: "PUT", json });
  }

  /**
   * A page of the audit log, oldest first: `entries`, `next` (the `cursor` of the following page) and `more`. `action`: one
   * action, or all of a kind (`key`). `owner`: who acted.
   */
  async audit({ since, action, owner, limit, cursor } = {}) {
    return (await this.client.request("/v1/audit", { query: { since, action, owner, limit, cursor } })).json();
  }

  /** @internal */
  async ask(path, options) {
    return (await this.client.request(`/v1/owners${path}`, options)).json();
  }
}
