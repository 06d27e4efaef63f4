/**
 * The service worker: keeps the application's own files, so that it opens without a network and at once with one.
 *
 * The gateway puts two constants before this text: `SHELL`, path → digest of each file, relative to the scope, and `VERSION`,
 * a hash of them. So a changed file is a new worker, which fetches all files anew and takes over when the pages of the old
 * version are closed, or when the user asks for it. Nothing but these files is cached: never an answer of the API.
 */

const PREFIX = `parlando ${self.registration.scope} `; // caches belong to the origin, which may have several gateways
const CACHE = PREFIX + VERSION;
const addressOf = (path) => new URL(path, self.registration.scope).href;
const FILES = new Set(Object.keys(SHELL).map(addressOf));
const WATCH = addressOf("watch/");

self.addEventListener("install", (event) => {
  event.waitUntil(fill());
});

/** Fetch all files. A file of another version, as of a gateway that isn't updated yet, has another digest and is refused. */
async function fill() {
  const cache = await caches.open(CACHE);
  const files = Object.entries(SHELL);
  const next = async () => {
    for (let file = files.pop(); file; file = files.pop()) {
      const [path, integrity] = file;
      const answer = await fetch(addressOf(path), { cache: "no-cache", integrity });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      await cache.put(addressOf(path), answer);
    }
  };
  await Promise.all([next(), next()]); // a page needs the other connections
}

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then((names) => {
      const old = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
      return Promise.all(old.map((name) => caches.delete(name)));
    }),
  );
});

self.addEventListener("message", ({ data }) => {
  if (data === "activate") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const address = cachedAs(event.request);
  if (address) event.respondWith(answer(address, event.request));
});

/** The address under which the answer to a request is cached; undefined for what isn't the application's. */
function cachedAs({ method, mode, url }) {
  if (method !== "GET") return undefined;
  const [address] = url.split(/[?#]/);
  if (mode !== "navigate") return address === url && FILES.has(url) ? url : undefined;
  if (address === self.registration.scope) return address;
  return address.startsWith(WATCH) && !address.slice(WATCH.length).includes("/") ? addressOf("watch/-") : undefined;
}

async function answer(address, request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(address)) ?? fetch(request);
}
