// The JavaScript client of the seed's README under Node: its protocol part as it stands, speech from
// a file instead of the microphone.
import { readFileSync } from "node:fs";

const WebSocket = globalThis.WebSocket ?? (await import(process.argv[4])).default;

const sessionId = 'interview_123';
const ws = new WebSocket(process.argv[2] + '/v1/stt/stream');
const samples = new Int16Array(readFileSync(process.argv[3]).buffer.slice(0));

function base64Encode(buffer) {
  let binary = '';
  const bytes = new Uint8Array(buffer);
  for (let i = 0; i < bytes.byteLength; i++) {
    binary += String.fromCharCode(bytes[i]);
  }
  return btoa(binary);
}

ws.onopen = () => {
  let at = 0;
  const timer = setInterval(() => {
    const int16 = samples.slice(at, at + 4096);
    at += 4096;
    if (!int16.length) return clearInterval(timer);
    const chunk = base64Encode(int16.buffer);
    ws.send(JSON.stringify({
      type: 'audio',
      session_id: sessionId,
      chunk: chunk
    }));
  }, 128);
};

const seen = [];
ws.onmessage = (event) => {
  const result = JSON.parse(event.data);
  if (result.type === 'partial') {
    seen.push('Partial: ' + result.text);
  } else if (result.type === 'final') {
    console.log(seen.concat('Final: ' + result.text).join('\n'));
    ws.close();
  }
};
