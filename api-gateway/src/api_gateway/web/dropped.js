/** The recordings in what was dropped or chosen: files, and folders with all that is in them. */

/** Files that one drop adds at most. */
export const MAX_FILES = 1000;

const MAX_DEPTH = 20; // of folders in folders
const ENDINGS =
  "3gp 3gpp aac ac3 aif aifc aiff amr ape asf au avi caf dts eac3 flac flv gsm loas m2ts m4a m4b m4v mka mkv mlp mov mp2 mp3 mp4 mpeg mpg mts mxf oga ogg ogv opus qt ra rm rf64 snd sox spx thd ts tta voc vob w64 wav weba webm wma wmv wtv wv";
const KNOWN = new Set(ENDINGS.split(" "));

/** Whether a file in a folder is a recording, by its type or the ending of its name. */
function isRecording({ name, type = "" }) {
  if (name.startsWith(".")) return false;
  return /^(audio|video)\//.test(type) || KNOWN.has(name.split(".").pop().toLowerCase());
}

/**
 * The files of a drop. Resolves with `files` ({file, name}; of one in a folder the name has the folder), `skipped` (the number of
 * files in folders that aren't recordings) and `cut` (whether there were more than `MAX_FILES`).
 * It must be called in the event's handler: later the browser forgets what was dropped.
 */
export function dropped({ items, files }) {
  const entries = [...(items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? walked(entries) : Promise.resolve(chosen(files));
}

/** The files of a file input. `folder`: whether it chooses folders, of which only recordings are taken. */
export function chosen(list, { folder = false } = {}) {
  const all = [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  const files = folder ? all.filter(({ file }) => isRecording(file)) : all;
  return { files: files.slice(0, MAX_FILES), skipped: all.length - files.length, cut: files.length > MAX_FILES };
}

async function walked(roots) {
  const found = { files: [], skipped: 0, cut: false };
  const waiting = roots.map((entry) => ({ entry, depth: 0 }));
  while (waiting.length && !found.cut) {
    const { entry, depth } = waiting.shift();
    if (entry.isDirectory) {
      if (depth >= MAX_DEPTH) continue;
      const inside = await entriesOf(entry);
      waiting.push(...inside.map((each) => ({ entry: each, depth: depth + 1 })));
      continue;
    }
    const file = await fileOf(entry);
    if (!file || (depth && !isRecording(file))) found.skipped++;
    else if (found.files.length >= MAX_FILES) found.cut = true;
    else found.files.push({ file, name: entry.fullPath.replace(/^\//, "") });
  }
  found.files.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return found;
}

/** What is in a folder; nothing if it can't be read. A browser gives a hundred entries at a time. */
async function entriesOf(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length || all.length > 10 * MAX_FILES) return all;
    all.push(...some);
  }
}

const fileOf = (entry) => new Promise((resolve) => entry.file(resolve, () => resolve(undefined)));
