// The official npm package, unmodified: node openai_sdk.mjs <base url> <file> [<silent file>]. Prints JSON.
import fs from "node:fs";
import { createRequire } from "node:module";
const { default: OpenAI } = createRequire(`${process.cwd()}/`)("openai");

const [base, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: "key", maxRetries: 0 });
const ask = (more) =>
  client.audio.transcriptions.create({ model: "whisper-1", file: fs.createReadStream(path), ...more });
const refused = async (promise) => {
  try {
    await promise;
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
};

const shown = { models: (await client.models.list()).data.map((model) => model.id) };
shown.json = await ask();
for (const form of ["text", "srt", "vtt", "verbose_json", "diarized_json"])
  shown[form] = await ask({ response_format: form });
shown.words = await ask({ response_format: "verbose_json", timestamp_granularities: ["word"] });
shown.logprobs = await ask({ include: ["logprobs"] });
shown.deltas = [];
for await (const event of await ask({ stream: true })) {
  if (event.type === "transcript.text.delta") shown.deltas.push(event.delta);
  if (event.type === "transcript.text.done") shown.done = event.text;
}
shown.errors = {
  model: await refused(ask({ model: "nothing" })),
  language: await refused(ask({ language: "zz" })),
  file: await refused(ask({ file: await OpenAI.toFile(Buffer.from("no audio ".repeat(100)), "x.wav") })),
  known: await refused(client.models.retrieve("nothing")),
  key: await refused(
    new OpenAI({ baseURL: base, apiKey: "wrong", maxRetries: 0 }).models.list().then(() => null),
  ),
};
console.log(JSON.stringify(shown));
