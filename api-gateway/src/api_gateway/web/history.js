/** The history of this browser, in IndexedDB: results, and the audio unless it is too big. */

const NAME = "parlando";
const STORE = "files";
const MAX_ENTRIES = 200;
const MAX_AUDIO = 64 << 20; // bytes of a file whose audio is kept, to play it after a reload
const MAX_PLAYABLE = 30; // of the newest files, the audio is kept

function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 2);
    request.onupgradeneeded = ({ oldVersion }) => {
      const { result, transaction } = request;
      const store = oldVersion ? transaction.objectStore(STORE) : result.createObjectStore(STORE, { keyPath: "id" });
      store.createIndex("created", "created");
    };
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

/** Store an entry {id, name, created, status, …}. Deletes the oldest above `MAX_ENTRIES`, and the audio of those above `MAX_PLAYABLE`. */
export async function keep({ file, ...entry }) {
  const kept = file && file.size <= MAX_AUDIO ? { ...entry, file } : entry;
  try {
    await transact("readwrite", (store) => store.put(kept));
    await trim();
  } catch {
    if (kept.file) await keep(entry); // no space for the audio
  }
}

/** The ids are read without the entries, which may be large. Each new entry makes one other too old, and its audio. */
async function trim() {
  const newest = (await transact("readonly", (store) => store.index("created").getAllKeys())).reverse();
  for (const id of newest.slice(MAX_ENTRIES)) await forget(id);
  const silent = newest[MAX_PLAYABLE];
  if (silent === undefined) return;
  const { file, ...entry } = (await transact("readonly", (store) => store.get(silent))) ?? {};
  if (file) await transact("readwrite", (store) => store.put(entry));
}

export function forget(id) {
  return transact("readwrite", (store) => store.delete(id)).catch(() => {});
}
