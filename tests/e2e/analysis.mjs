// A file is analysed with the JavaScript SDK: node analysis.mjs <folder of the SDK> <gateway> <file> <options, JSON>.
// Prints the task's id, each update, and at the end the task, a line each.
import { readFileSync } from "node:fs";

const [sdk, url, path, options] = process.argv.slice(2);
const { ParlandoClient } = await import(`${sdk}/parlando.js`);
const { analysis } = new ParlandoClient(url);
const print = (value) => console.log(JSON.stringify(value));

let id;
const ontask = (task) => print({ task: (id = task) });
try {
  const file = new Blob([readFileSync(path)]);
  for await (const update of analysis.analyze(file, { name: "talk.flac", ontask, ...JSON.parse(options) })) print(update);
  const again = [];
  for await (const { seq } of analysis.updates(id, { after: 3 })) again.push(seq);
  print({ state: await analysis.task(id), again, deleted: await analysis.cancel(id) });
} catch (error) {
  print({ code: error.code, message: error.message });
}
