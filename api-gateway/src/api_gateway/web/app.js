/** The web app: navigation between views, the settings dialog, and the client that all views use. */

import { FilesView } from "./files.js";
import { ClusterView } from "./cluster.js";
import { LiveView } from "./live.js";
import { PipelineView } from "./pipeline.js";
import { SongsView } from "./songs-view.js";
import { ParlandoClient } from "./parlando.js";
import { $, GATEWAY, applyTheme, showNotice } from "./dom.js";

const stored = { key: "parlando.key", theme: "parlando.theme" };
const client = new ParlandoClient(GATEWAY, { apiKey: localStorage.getItem(stored.key) ?? "" });

/** Open the settings if the cluster refused the API key. Returns whether it did. */
function needsKey(error) {
  if (error?.code !== "not_allowed") return false;
  const text = client.apiKey ? "The cluster doesn't accept this API key." : "This cluster needs an API key.";
  showNotice($("settings-why"), text, "warn");
  openSettings();
  return true;
}

function openSettings() {
  $("settings-key").value = client.apiKey;
  $("settings-theme").value = localStorage.getItem(stored.theme) ?? "";
  if (!$("settings").open) $("settings").showModal();
}

$("open-settings").addEventListener("click", () => {
  showNotice($("settings-why"), "");
  openSettings();
});
$("settings-theme").addEventListener("change", ({ target }) => {
  localStorage.setItem(stored.theme, target.value);
  applyTheme(target.value);
});
$("settings").addEventListener("close", () => {
  const key = $("settings-key").value.trim();
  if (key === client.apiKey) return;
  client.apiKey = key;
  localStorage.setItem(stored.key, key);
  for (const view of Object.values(views)) view.refresh?.();
});
applyTheme(localStorage.getItem(stored.theme) ?? "");

const views = {
  live: new LiveView(client, needsKey),
  files: new FilesView(client, needsKey),
  pipeline: new PipelineView(client, needsKey),
  songs: new SongsView(client, needsKey),
  cluster: new ClusterView(client, needsKey),
};

function show() {
  const [name, rest = ""] = location.hash.slice(1).split("/");
  const chosen = name in views ? name : "live";
  for (const [each, view] of Object.entries(views)) {
    $(`view-${each}`).hidden = each !== chosen;
    view.shown?.(each === chosen, rest);
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return; // the skip link
  show();
});
show();
