/** The installable application: registers the service worker, says when a new version is ready and when nothing answers. */

import { GATEWAY, make } from "./dom.js";

const RETRY_MS = 10_000;
const UNREACHABLE = "The cluster can't be reached. Transcripts that this browser has kept are under Files.";
const PROXY_ERRORS = [502, 504];

/** A bar above the page's content, with an optional button. */
function bar(text, label, action) {
  const element = make("p", { className: "notice pwa", role: "status" }, make("span", { className: "grow" }, text));
  if (label) {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", action);
    element.append(button);
  }
  document.getElementById("main").prepend(element);
  return element;
}

/** Register the worker. Its address is trusted because it is a constant. */
async function register() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return; // not over HTTPS
  const address = `${GATEWAY}/sw.js`;
  const policy = globalThis.trustedTypes?.createPolicy("parlando-worker", { createScriptURL: () => address });
  try {
    const registration = await serviceWorker.register(policy?.createScriptURL("") ?? address, { scope: `${GATEWAY}/` });
    if (registration.waiting && serviceWorker.controller) offer(registration);
    registration.addEventListener("updatefound", () => {
      const { installing } = registration;
      installing?.addEventListener("statechange", () => {
        if (installing.state === "installed" && serviceWorker.controller) offer(registration);
      });
    });
  } catch (error) {
    if (navigator.onLine) console.info(`This page can't be used offline: ${error.message}`);
  }
}

let offered; // the bar that offers the newest version

function offer(registration) {
  const { serviceWorker } = navigator;
  offered ??= bar("A new version is ready. Reload when nothing is being recorded.", "Reload", () => {
    serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
    registration.waiting?.postMessage("activate");
  });
}

let shown; // the bar that says that the cluster can't be reached
let retry;

/** Find out whether a gateway answers; as long as none does, ask again. */
async function check() {
  const reachable = await fetch(`${GATEWAY}/health`, { cache: "no-store" }).then(
    ({ status }) => !PROXY_ERRORS.includes(status),
    () => false,
  );
  if (reachable) {
    shown?.remove();
    if (shown) dispatchEvent(new Event("parlando-reachable"));
    shown = undefined;
    return;
  }
  shown ??= bar(UNREACHABLE);
  clearTimeout(retry); // an `online` event may have asked meanwhile
  retry = setTimeout(check, RETRY_MS);
}

addEventListener("offline", () => (shown ??= bar(UNREACHABLE)));
addEventListener("online", check);
// A page that came from the network has reached the cluster; one of the service worker may not have.
if (navigator.serviceWorker?.controller) check();
if (document.readyState === "complete") register();
else addEventListener("load", register, { once: true });
