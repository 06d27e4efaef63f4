/** API keys and short-lived tokens, over REST. All but `token` need a key with the scope `admin`. */

/** The API keys of a cluster. */
export class Keys {
  constructor(client) {
    this.client = client;
  }

  /**
   * Create a key; resolves with it, `key` being its secret, which can't be read again. `owner`: whom everything made with
   * it belongs to; by default the owner of the client's own key. `doors`: protocols that accept it; none for all.
   * `limits`: of this key alone, such as `{ sessions: 2 }`.
   */
  create(name, { scopes, owner, doors, expiresAt, limits } = {}) {
    const json = { name, scopes, owner, doors, expires_at: expiresAt, limits };
    return this.ask("/v1/keys", { method: "POST", json });
  }

  /** Set all limits of a key: 0, or left out, for none of its own. */
  limit(id, limits) {
    return this.ask(`/v1/keys/${encodeURIComponent(id)}/limits`, { method: "PUT", json: limits });
  }

  /** The limits of an owner: those that are set for it (`limits`), and those that apply (`effective`). */
  ownerLimits(owner) {
    return this.ask(`/v1/owners/${encodeURIComponent(owner)}/limits`);
  }

  /** Set all limits of an owner: 0 for none, left out for the cluster's; `null` removes them. */
  limitOwner(owner, limits) {
    const path = `/v1/owners/${encodeURIComponent(owner)}/limits`;
    return this.ask(path, limits === null ? { method: "DELETE" } : { method: "PUT", json: limits });
  }

  async list() {
    return (await this.ask("/v1/keys")).keys;
  }

  /** Give a key another secret (`key`); the old one is accepted for `graceSeconds`. */
  rotate(id, { graceSeconds = 0 } = {}) {
    const json = { grace_seconds: graceSeconds };
    return this.ask(`/v1/keys/${encodeURIComponent(id)}/rotate`, { method: "POST", json });
  }

  /** Revoke a key. Connections that use it end within two seconds. */
  revoke(id) {
    return this.ask(`/v1/keys/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** Make a token that stands for the client's own key; resolves with `token` and `expires_at`. */
  token({ scopes = ["live"], seconds = 60, sessions } = {}) {
    return this.ask("/v1/tokens", { method: "POST", json: { scopes, seconds, sessions } });
  }

  /** @internal */
  async ask(path, options) {
    return (await this.client.request(path, options)).json();
  }
}
