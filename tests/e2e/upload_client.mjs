// Transcribes a file with the JavaScript client: node upload_client.mjs <http://host:port> <key> <file>. Prints the text
// and the shares of the upload's progress.
import { openAsBlob } from "node:fs";
import { ParlandoClient } from "../../clients/js/parlando.js";

const [url, apiKey, file] = process.argv.slice(2);
const client = new ParlandoClient(url, { apiKey });
const shares = [];
const onprogress = (share) => shares.push(share);
const job = await client.jobs.submit(await openAsBlob(file), { name: "talk.wav", words: true, onprogress });
const { result } = await client.jobs.wait(job.job_id);
console.log(JSON.stringify({ text: result.text, shares }));
