/** The dialog that creates links for viewers, and revokes them. */

import { $, GATEWAY, explain, make, showNotice } from "./dom.js";

export class ShareDialog {
  constructor(client) {
    this.client = client;
    this.links = new Map(); // viewer id → link; the cluster sends a token only once
    $("share-add").addEventListener("click", () => this.add());
  }

  async open(session) {
    this.session = session.id;
    showNotice($("share-notice"), "");
    $("share").showModal();
    await this.attempt(() => this.list());
  }

  async add() {
    await this.attempt(async () => {
      const { viewer_id, token } = await this.client.share(this.session, { label: $("share-label").value.trim() });
      const path = `/watch/${encodeURIComponent(this.session)}?token=${encodeURIComponent(token)}`;
      this.links.set(viewer_id, GATEWAY + path);
      $("share-label").value = "";
      await this.list();
    });
  }

  async list() {
    const viewers = await this.client.viewers(this.session);
    $("share-list").replaceChildren(...viewers.map((viewer) => this.row(viewer)));
  }

  row({ viewer_id, label, created_at }) {
    const link = this.links.get(viewer_id);
    const name = label || `Link from ${new Date(created_at).toLocaleTimeString()}`;
    const text = link ? make("a", { href: link, target: "_blank", rel: "noopener" }, name) : name;
    const row = make("li", {}, make("span", { className: "grow" }, text));
    if (link) {
      const copy = make("button", { type: "button", ariaLabel: `Copy the link: ${name}` }, "Copy");
      copy.addEventListener("click", () => this.attempt(() => this.copy(link)));
      row.append(copy);
    }
    const revoke = make("button", { type: "button", className: "quiet", ariaLabel: `Revoke: ${name}` }, "Revoke");
    revoke.addEventListener("click", () =>
      this.attempt(async () => {
        await this.client.revoke(this.session, viewer_id);
        await this.list();
      }),
    );
    row.append(revoke);
    return row;
  }

  async copy(link) {
    await navigator.clipboard.writeText(link);
    showNotice($("share-notice"), "Copied.");
  }

  async attempt(action) {
    try {
      await action();
    } catch (error) {
      showNotice($("share-notice"), explain(error), "bad");
    }
  }
}
