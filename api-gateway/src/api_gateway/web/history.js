/** The history of this browser, in IndexedDB: results, and the audio unless it is too big. */

const NAME = "parlando";
const STORE = "files";
const MAX_ENTRIES = 30;
const MAX_AUDIO = 64 << 20; // bytes of a file whose audio is kept, to play it after a reload

function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function transact(mode, action) {
  const opened = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = opened.transaction(STORE, mode);
      const request = action(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    opened.close();
  }
}

/** All entries, newest first. */
export async function entries() {
  try {
    const found = await transact("readonly", (store) => store.getAll());
    return found.sort((a, b) => b.created - a.created);
  } catch {
    return []; // no IndexedDB, such as in a private window
  }
}

/** Store an entry {id, name, created, status, …}. Deletes the oldest above `MAX_ENTRIES`. */
export async function keep({ file, ...entry }) {
  const kept = file && file.size <= MAX_AUDIO ? { ...entry, file } : entry;
  try {
    await transact("readwrite", (store) => store.put(kept));
    for (const { id } of (await entries()).slice(MAX_ENTRIES)) await forget(id);
  } catch {
    if (kept.file) await keep(entry); // no space for the audio
  }
}

export function forget(id) {
  return transact("readwrite", (store) => store.delete(id)).catch(() => {});
}
