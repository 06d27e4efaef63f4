// A whole session of the JavaScript SDK: node live_session.mjs <folder of the SDK> <gateway> <file> <options, JSON>
// <seconds> <cut (1/0)>. Sends the file within that time, loses the connection in the middle if asked to, shares the
// session with a viewer at its first final, and prints each event on a line.
import { readFileSync } from "node:fs";

const [sdk, url, file, options, seconds, cut] = process.argv.slice(2);
const { ParlandoClient } = await import(`${sdk}/parlando.js`);
const data = readFileSync(file);
const PIECES = 100;
const step = Math.ceil(data.length / PIECES);

const session = new ParlandoClient(url).live(JSON.parse(options));
for (const type of ["connected", "final", "flushed", "closed", "unprotected"]) {
  session.on(type, (event) => console.log(JSON.stringify(event)));
}
session.on("failed", (error) => {
  console.log(JSON.stringify({ type: "failed", code: error.code, message: error.message }));
  process.exit(1);
});
let viewing;
session.on("final", () => (viewing ??= watch()));
async function watch() {
  const { token } = await session.client.share(session.id, { label: "audience" });
  const viewer = new ParlandoClient(url); // without the owner's key
  const onconnection = (connected) => connected && console.log(JSON.stringify({ type: "watching" }));
  for await (const event of viewer.watch(session.id, { token, onconnection })) {
    if (event.type === "final") console.log(JSON.stringify({ ...event, type: "viewed" }));
    if (event.type === "revoked") console.log(JSON.stringify({ type: "revoked" }));
  }
}

for (let at = 0, piece = 0; at < data.length; at += step, piece++) {
  session.send(data.subarray(at, at + step));
  if (cut === "1" && piece === PIECES / 2) {
    session.drop(); // without a close handshake, before the server detects it
    session.lost({ code: 1006 });
    session.flush(); // sent later: there is no connection now
  }
  await new Promise((resolve) => setTimeout(resolve, (seconds * 1000) / PIECES));
}
await session.end();
await viewing;
