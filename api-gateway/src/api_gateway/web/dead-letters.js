/** Deliveries that were given up, with buttons that retry or drop them. */

import { $, explain, make, showNotice } from "./dom.js";

const REFRESH_MS = 15_000;
const KINDS = { archive: "Transcript to the archive", callback: "Result of a recording", push: "Final to the webhook", notice: "Notice", song: "Song" };

export class DeadLetters {
  constructor(client) {
    this.client = client;
  }

  /** Called when the view is shown or hidden. */
  shown(visible) {
    clearInterval(this.timer);
    if (!visible) return;
    this.refresh();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  async refresh() {
    try {
      const { deliveries } = await (await this.client.request("/v1/deliveries", { query: { limit: 100 } })).json();
      $("cluster-letters-part").hidden = !deliveries.length;
      $("cluster-letters").replaceChildren(...deliveries.map((each) => this.row(each)));
    } catch {
      $("cluster-letters-part").hidden = true; // the cluster's state says why
    }
  }

  row(delivery) {
    const path = `/v1/deliveries/${encodeURIComponent(delivery.id)}`;
    const error = delivery.error?.message ?? "";
    const actions = make(
      "td",
      {},
      this.button("Retry", `Retry the delivery to ${delivery.destination}`, () => this.client.request(`${path}/retry`, { method: "POST" })),
      this.button("Drop", `Drop the delivery to ${delivery.destination}`, () => this.client.request(path, { method: "DELETE" })),
    );
    const cells = [KINDS[delivery.queue] ?? delivery.queue, delivery.destination, delivery.attempts, error];
    return make("tr", {}, ...cells.map((text) => make("td", {}, String(text))), actions);
  }

  button(text, name, act) {
    const button = make("button", { type: "button", className: "quiet", "aria-label": name }, text);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await act();
        showNotice($("cluster-notice"), "");
      } catch (error) {
        showNotice($("cluster-notice"), explain(error), "bad");
      }
      await this.refresh();
    });
    return button;
  }
}
