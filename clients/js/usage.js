/** Usage per owner and day, over REST. */

/** What owners have used: audio, sessions, jobs, tokens of language models, costs. */
export class Usage {
  constructor(client) {
    this.client = client;
  }

  /**
   * Resolves with the `total`, and `days` with an object for each owner and day with usage. `from`, `to`: days in UTC,
   * inclusive ("2026-11-27"); by default this month so far. `owner`: another owner, or "*" for all; needs a key with the
   * scope `admin`.
   */
  async get({ from, to, owner, signal } = {}) {
    return (await this.client.request("/v1/usage", { query: { from, to, owner }, signal })).json();
  }

  /** Resolves with the days as CSV with a line of names. */
  async csv({ from, to, owner, signal } = {}) {
    return (await this.client.request("/v1/usage", { query: { from, to, owner, format: "csv" }, signal })).text();
  }
}
