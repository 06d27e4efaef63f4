/** The Keys view: creating API keys, the list of keys, rotating and revoking them. */

import { $, explain, make, showNotice } from "./dom.js";

const SCOPES = ["live", "jobs", "read", "omi", "songs", "admin"];
const CHOSEN = ["live", "jobs", "read"];
const DAY_MS = 86_400_000;
const LIMITS = {
  sessions: "Live sessions at once",
  requests_minute: "Requests a minute",
  audio_seconds_day: "Seconds of audio a day",
  audio_seconds_month: "Seconds of audio a month",
  upload_mb: "Megabytes of a file",
  jobs_waiting: "Waiting jobs",
};

export class KeysView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.scopes = new Map();
    for (const scope of SCOPES) {
      const box = make("input", { type: "checkbox", checked: CHOSEN.includes(scope) });
      this.scopes.set(scope, box);
      $("keys-scopes").append(make("label", { className: "inline" }, box, ` ${scope}`));
    }
    this.limits = new Map();
    for (const [name, text] of Object.entries(LIMITS)) {
      const input = make("input", { type: "number", min: "1", step: "1", placeholder: "No limit" });
      this.limits.set(name, input);
      $("keys-limits").append(make("label", {}, make("span", {}, text), input));
    }
    this.rows = make("tbody");
    const names = ["Name", "Owner", "Scopes", "Status", "Last used", "Expires", "Limits", ""];
    const head = names.map((name) => make("th", { scope: "col" }, name || make("span", { className: "for-readers" }, "Actions")));
    $("keys-table").append(make("thead", {}, make("tr", {}, ...head)), this.rows);
    $("keys-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.create();
    });
    $("keys-copy").addEventListener("click", () => this.copy());
  }

  shown(visible) {
    if (visible) this.refresh();
    else this.hideSecret();
  }

  async refresh() {
    try {
      const keys = await this.client.keys.list();
      this.rows.replaceChildren(...keys.map((key) => this.row(key)));
      showNotice($("keys-notice"), "");
    } catch (error) {
      this.rows.replaceChildren();
      this.showError(error);
    }
  }

  row(key) {
    const moment = (text) => (text ? new Date(text).toLocaleString() : "never");
    const name = make("td", {}, key.name, make("p", { className: "small" }, key.id));
    const limits = Object.entries(key.limits).map(([name, value]) => `${LIMITS[name] ?? name}: ${value}`);
    const times = [moment(key.last_used_at), moment(key.expires_at)];
    const texts = [key.owner, key.scopes.join(" "), key.status, ...times, limits.join(", ") || "none"];
    const actions = make("td", {});
    if (key.status === "active") {
      actions.append(
        this.button("Rotate", key, async () => this.showSecret(await this.client.keys.rotate(key.id))),
        this.button("Revoke", key, () => this.client.keys.revoke(key.id)),
      );
    }
    const cells = texts.map((text) => make("td", {}, text));
    return make("tr", { dataset: { key: key.id } }, name, ...cells, actions);
  }

  /** A button that asks once more before it acts, because what uses the key stops working. */
  button(text, key, act) {
    const button = make("button", { type: "button", className: "quiet", ariaLabel: `${text} ${key.name}` }, text);
    button.addEventListener("click", async () => {
      if (!button.dataset.sure) {
        button.dataset.sure = "true";
        button.textContent = `${text}: sure?`;
        return;
      }
      button.disabled = true;
      try {
        await act();
        await this.refresh();
      } catch (error) {
        button.disabled = false;
        this.showError(error);
      }
    });
    return button;
  }

  async create() {
    const scopes = SCOPES.filter((scope) => this.scopes.get(scope).checked);
    const days = Number($("keys-days").value);
    const expiresAt = days ? new Date(Date.now() + days * DAY_MS).toISOString() : undefined;
    const owner = $("keys-owner").value.trim() || undefined;
    try {
      const filled = [...this.limits].filter(([, input]) => input.value);
      const limits = Object.fromEntries(filled.map(([name, input]) => [name, Number(input.value)]));
      const made = await this.client.keys.create($("keys-name").value, { scopes, owner, expiresAt, limits });
      $("keys-form").reset();
      for (const [scope, box] of this.scopes) box.checked = CHOSEN.includes(scope);
      await this.refresh();
      this.showSecret(made);
    } catch (error) {
      this.showError(error);
    }
  }

  showSecret(made) {
    $("keys-made-name").textContent = `Key ${made.name}`;
    $("keys-secret").value = made.key;
    $("keys-copy").textContent = "Copy";
    $("keys-made").hidden = false;
    $("keys-secret").select();
  }

  hideSecret() {
    $("keys-made").hidden = true;
    $("keys-secret").value = "";
  }

  async copy() {
    try {
      await navigator.clipboard.writeText($("keys-secret").value);
      $("keys-copy").textContent = "Copied";
    } catch {
      $("keys-secret").select(); // without permission the user copies it
    }
  }

  showError(error) {
    if (!this.needsKey(error)) showNotice($("keys-notice"), explain(error), "bad");
  }
}
