// OpenAI's npm package on a realtime transcription session, unmodified:
// node openai_realtime.mjs <base url> <key> <ws or websocket> <file of 16 kHz PCM> <items>. Prints the events.
import fs from "node:fs";
import { createRequire } from "node:module";

const packages = createRequire(`${process.cwd()}/`);
const [base, key, kind, path, items] = process.argv.slice(2);
const { default: OpenAI } = packages("openai");
const client = new OpenAI({ baseURL: base, apiKey: key });
const { OpenAIRealtimeWS } = packages("openai/realtime/ws");
const { OpenAIRealtimeWebSocket } = packages("openai/realtime/websocket");
const realtime =
  kind === "ws"
    ? new OpenAIRealtimeWS({ intent: "transcription" }, client)
    : new OpenAIRealtimeWebSocket({ intent: "transcription" }, client);

let completed = 0;
realtime.on("event", (event) => {
  console.log(JSON.stringify(event));
  if (event.type === "session.created") send();
  if (event.type === "conversation.item.input_audio_transcription.completed" && ++completed === Number(items))
    realtime.close();
});
realtime.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
  realtime.close();
});

function send() {
  const format = { type: "audio/pcm", rate: 16000 };
  realtime.send({ type: "session.update", session: { type: "transcription", audio: { input: { format } } } });
  const audio = fs.readFileSync(path);
  for (let at = 0; at < audio.length; at += 3200)
    realtime.send({ type: "input_audio_buffer.append", audio: audio.subarray(at, at + 3200).toString("base64") });
  realtime.send({ type: "input_audio_buffer.commit" });
}
