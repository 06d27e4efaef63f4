/** The viewers' page: a session's captions in large type, or an overlay for a video mixer (`?mode=overlay`). */

import { $, GATEWAY, applyTheme, explain } from "./dom.js";
import { ClearTimer, overlayOptions, showOverlay } from "./overlay.js";
import { Corrections } from "./corrections.js";
import { ParlandoClient } from "./parlando.js";
import { Speakers } from "./speakers.js";
import { SpeakersPanel } from "./speakers-view.js";
import { TranscriptView } from "./transcript.js";

const query = new URLSearchParams(location.search);
const session = decodeURIComponent(location.pathname.split("/").at(-1));
const token = query.get("token") ?? "";
const overlay = query.get("mode") === "overlay" ? overlayOptions(query) : null;
const stored = { size: "parlando.watch.size", theme: "parlando.theme" };

const client = new ParlandoClient(GATEWAY, { apiKey: localStorage.getItem("parlando.key") ?? "" });
const speakers = new Speakers();
const corrections = new Corrections();
const maxFinals = overlay ? overlay.lines : Infinity;
const view = new TranscriptView($("watch-transcript"), { maxFinals, speakers, corrections });
const timer = new ClearTimer(overlay?.clear ?? 0, () => view.clear());
if (!overlay) $("watch-speakers").append(new SpeakersPanel(speakers).element);

function state(name, text) {
  $("watch-state").dataset.state = name;
  $("watch-state").textContent = text;
}

function size(change) {
  const now = Number(query.get("size") ?? localStorage.getItem(stored.size) ?? 1);
  const next = Math.min(4, Math.max(0.4, (Number.isFinite(now) ? now : 1) * change));
  if (change !== 1) {
    query.delete("size");
    localStorage.setItem(stored.size, String(next));
  }
  document.documentElement.style.setProperty("--scale", String(next));
}

$("watch-smaller").addEventListener("click", () => size(1 / 1.2));
$("watch-larger").addEventListener("click", () => size(1.2));
$("watch-theme").addEventListener("change", ({ target }) => {
  localStorage.setItem(stored.theme, target.value);
  applyTheme(target.value);
});
$("watch-theme").value = localStorage.getItem(stored.theme) ?? "";
if (overlay) showOverlay(overlay);
else applyTheme($("watch-theme").value);
const other = new URL(location.href);
other.searchParams.set("mode", "overlay");
$("watch-overlay").href = other.href;
size(1);

const HANDLERS = {
  closed: () => {
    state("idle", "Ended");
    loadChanges(); // those made after the end don't come as events
    addEventListener("focus", loadChanges);
  },
  revoked: () => state("failed", "This link has been revoked"),
  partial: (event) => (view.partial(event), timer.shown(event.text)),
  final: (event) => (view.final(event), timer.shown(event.text)),
  restarted: () => view.restart(),
  speakers_revised: ({ segments }) => speakers.revise(segments),
  annotation: (annotation) => (speakers.annotated(annotation), corrections.annotated(annotation)),
  status: ({ status, ms }) => status === "lost" && view.remark(`${(ms / 1000).toFixed(1)} s of audio were lost.`),
};

async function loadChanges() {
  const names = await client.speakerNames(session, { token }).catch(() => null); // it may have expired
  if (names) speakers.setNames(names);
  const found = await client.corrections(session, { token }).catch(() => null);
  if (found) corrections.setTexts(found);
}

function connection(connected) {
  if (connected) state("open", "Live");
  else state("reconnecting", "Connection lost, reconnecting");
}

try {
  const { title } = await client.transcript(session, { token });
  if (title) $("watch-title").textContent = document.title = title;
  const events = client.watch(session, { token, annotations: true, onconnection: connection });
  for await (const event of events) HANDLERS[event.type]?.(event);
} catch (error) {
  state("failed", explain(error));
}
