/** The web app: navigation between views, the settings dialog, and the client that all views use. */

import { FilesView } from "./files.js";
import { ClusterView } from "./cluster.js";
import { LiveView } from "./live.js";
import { liveShortcuts } from "./live-shortcuts.js";
import { PipelineView } from "./pipeline.js";
import { SongsView } from "./songs-view.js";
import { KeysView } from "./keys-view.js";
import { UsageView } from "./usage-view.js";
import { ParlandoClient } from "./parlando.js";
import { Shortcuts } from "./shortcuts.js";
import { $, GATEWAY, applyTheme, showNotice } from "./dom.js";

const RECHECK_MS = 15_000;
const stored = { key: "parlando.key", theme: "parlando.theme" };
const client = new ParlandoClient(GATEWAY, { apiKey: localStorage.getItem(stored.key) ?? "" });

/**
 * Open the settings if the cluster refused the API key. Returns whether it did. After a refusal of a key that has been
 * replaced since, the views ask again with the present key.
 */
function needsKey(error) {
  if (error?.code !== "not_allowed") return false;
  if (error.outdated) {
    refreshViews();
    return true;
  }
  const text = client.apiKey ? "The cluster doesn't accept this API key." : "This cluster needs an API key.";
  showNotice($("settings-why"), text, "warn");
  openSettings();
  return true;
}

/** What is being typed into the open dialog stays. */
function openSettings() {
  if ($("settings").open) return;
  $("settings-key").value = client.apiKey;
  $("settings-theme").value = localStorage.getItem(stored.theme) ?? "";
  $("settings").showModal();
}

function refreshViews() {
  for (const view of Object.values(views)) view.refresh?.();
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
  refreshViews();
});
applyTheme(localStorage.getItem(stored.theme) ?? "");

const views = {
  live: new LiveView(client, needsKey),
  files: new FilesView(client, needsKey),
  pipeline: new PipelineView(client, needsKey),
  songs: new SongsView(client, needsKey),
  cluster: new ClusterView(client, needsKey),
  keys: new KeysView(client, needsKey),
  usage: new UsageView(client, needsKey),
};

/** The view that the address names. */
function chosenView() {
  const [name] = location.hash.slice(1).split("/");
  return name in views ? name : "live";
}

setInterval(() => document.hidden || views[chosenView()].recheck?.(), RECHECK_MS);

new Shortcuts(() => ($("view-live").hidden ? [] : liveShortcuts(views.live)));

function show() {
  const chosen = chosenView();
  const [, rest = ""] = location.hash.slice(1).split("/");
  for (const [each, view] of Object.entries(views)) {
    $(`view-${each}`).hidden = each !== chosen;
    view.shown?.(each === chosen, rest);
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${chosen}`) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return; // the skip link
  show();
});
show();
