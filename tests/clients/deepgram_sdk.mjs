// The official npm package, live and for a file: node deepgram_sdk.mjs <http://host:port> <raw pcm> <file>. Prints JSON.
import fs from "node:fs";
import { createRequire } from "node:module";
const { DeepgramClient } = createRequire(`${process.cwd()}/`)("@deepgram/sdk");

const [base, pcmPath, file] = process.argv.slice(2);
const live = base.replace("http", "ws");
const client = new DeepgramClient({
  apiKey: "key",
  environment: { base, production: live, agent: live, agentRest: base },
});
const show = (value) => console.log(JSON.stringify(value));

const answer = await client.listen.v1.media.transcribeFile(fs.createReadStream(file), {
  model: "nova-3",
  smart_format: true,
  utterances: true,
});
show({ type: "file", answer });

const run = async (socket, ask) => {
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.on("message", show);
  socket.on("error", (error) => show({ type: "raised", error: String(error) }));
  socket.connect();
  await socket.waitForOpen();
  const pcm = fs.readFileSync(pcmPath);
  for (let at = 0; at < pcm.length; at += 3200) ask.send(socket, pcm.subarray(at, at + 3200));
  ask.end(socket);
  await closed;
};

await run(
  await client.listen.v1.connect({
    model: "nova-3",
    encoding: "linear16",
    sample_rate: 16000,
    interim_results: "true",
    punctuate: "true",
    reconnectAttempts: 0,
  }),
  {
    send: (socket, chunk) => socket.sendMedia(chunk),
    end: (socket) => socket.sendCloseStream({ type: "CloseStream" }),
  },
);
show({ type: "next" });
await run(
  await client.listen.v2.connect({
    model: "flux-general-en",
    encoding: "linear16",
    sample_rate: 16000,
    reconnectAttempts: 0,
  }),
  {
    send: (socket, chunk) => socket.sendMedia(chunk),
    end: (socket) => socket.sendCloseStream({ type: "CloseStream" }),
  },
);
process.exit(0);
