// The JavaScript SDK's session against a WebSocket that is played here: node unsettled.mjs <folder of the SDK>
import assert from "node:assert/strict";

const sockets = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  constructor(address) {
    this.query = Object.fromEntries(new URL(address).searchParams);
    this.readyState = 1;
    this.sent = [];
    sockets.push(this);
  }
  send(message) {
    this.sent.push(message);
  }
  close() {}
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  get bytes() {
    return this.sent.filter((message) => typeof message !== "string").reduce((sum, { length }) => sum + length, 0);
  }
  get texts() {
    return this.sent.filter((message) => typeof message === "string").map((message) => JSON.parse(message));
  }
};
globalThis.location = undefined;
const { ParlandoClient } = await import(`${process.argv[2]}/parlando.js`);

const GREETING = { type: "connected", session_id: "s", resume_token: "token", received: 0, seq: 0 };

function opened(options = {}) {
  const session = new ParlandoClient("http://127.0.0.1:1").live(options);
  sockets.at(-1).say(GREETING);
  return session;
}

/** The connection breaks; the one after it. */
async function reconnected(session) {
  const before = sockets.length;
  sockets.at(-1).onclose({ code: 1006 });
  while (sockets.length === before) await new Promise((resolve) => setTimeout(resolve, 10));
  return sockets.at(-1);
}

const tests = {
  async "exactly what is missing is sent again, in every encoding"() {
    const encodings = [
      [{}, 2],
      [{ encoding: "pcm_s16le", channels: 2, sample_rate: 44100 }, 4],
      [{ encoding: "pcm_f32le" }, 4],
      [{ encoding: "pcm_f32le", channels: 3 }, 12],
      [{ encoding: "mulaw", sample_rate: 8000 }, 1],
      [{ encoding: "alaw", channels: 2 }, 2],
      [{ encoding: "container" }, 1],
      [{ format: "webm" }, 1],
      [{ format: "pcm" }, 2],
    ];
    for (const [options, unit] of encodings) {
      const session = opened(options);
      for (let number = 0; number < 10; number++) session.send(new Uint8Array(1000 * unit).fill(number));
      assert.equal(sockets.at(-1).bytes, 10_000 * unit);
      sockets.at(-1).say({ type: "ack", received: 5500, settled: 0, settled_ms: 0 });
      const again = await reconnected(session);
      again.say({ ...GREETING, received: 5600, resumed: true, state: "open" });
      assert.equal(again.bytes, 4400 * unit, JSON.stringify(options));
      assert.equal(again.sent[0][0], 5);
      assert.equal(again.sent[0].length, 400 * unit);
      session.leave();
    }
  },

  async "what is said while reconnecting comes in its place, and a flush resolves"() {
    const session = opened({ encoding: "container" });
    session.send(new Uint8Array(10));
    sockets.at(-1).say({ type: "ack", received: 10, settled: 0, settled_ms: 0 });
    const flushed = new Promise((resolve) => session.on("flushed", resolve));
    const next = reconnected(session);
    session.flush();
    session.configure({ language: "de" });
    session.send(new Uint8Array(5));
    const ended = session.end();
    const again = await next;
    again.say({ ...GREETING, received: 10, resumed: true, state: "open" });
    assert.deepEqual(again.texts, [{ type: "flush" }, { type: "config", language: "de" }, { type: "end" }]);
    assert.deepEqual(again.sent.map((message) => typeof message), ["string", "string", "object", "string"]);
    again.say({ type: "flushed", seq: 1 });
    await flushed;
    again.say({ type: "closed", seq: 2, reason: "end" });
    assert.equal((await ended).reason, "end");
  },

  async "a session that the cluster has lost is opened anew where it is settled"() {
    const session = opened({ sample_rate: 8000, encoding: "mulaw", language: "en" });
    for (let number = 0; number < 4; number++) session.send(new Uint8Array(8000));
    session.configure({ language: "de" });
    session.send(new Uint8Array(8000));
    sockets.at(-1).say({ type: "ack", received: 40_000, settled: 7680, settled_ms: 970 });
    sockets.at(-1).say({ type: "final", seq: 4, segment: 2, text: "", settled: 15872, settled_ms: 1990 });
    const failed = [];
    session.on("failed", (error) => failed.push(error));
    sockets.at(-1).say({ type: "error", code: "session_lost", message: "", retryable: true });
    const again = await reconnected(session);
    const { start_at, settled_ms, segments, last_seq, session_id, resume, language } = again.query;
    assert.deepEqual(
      { start_at, settled_ms, segments, last_seq, session_id, resume, language },
      { start_at: "15872", settled_ms: "1990", segments: "3", last_seq: "4", session_id: "s", resume: "token", language: "en" },
    );
    again.say({ ...GREETING, received: 15872, seq: 4, resumed: true, reopened: true, state: "open" });
    assert.equal(again.bytes, 40_000 - 15872);
    assert.deepEqual(again.texts, [{ type: "config", language: "de" }]);
    assert.deepEqual(failed, []);
    session.leave();
  },

  async "more than may be kept is told once, and what was lost by it"() {
    const session = opened({ keepS: 2 });
    const told = [];
    const lost = [];
    session.on("unprotected", (event) => told.push(event));
    session.on("status", (event) => lost.push(event));
    for (let number = 1; number <= 5; number++) {
      session.send(new Uint8Array(32_000));
      sockets.at(-1).say({ type: "ack", received: number * 16_000, settled: 0, settled_ms: 0 });
    }
    assert.equal(told.length, 1);
    const again = await reconnected(session);
    assert.equal(again.query.start_at, "48000");
    again.say({ ...GREETING, received: 48_000, resumed: true, reopened: true, state: "open" });
    assert.deepEqual([lost[0].status, lost[0].ms], ["lost", 3000]);
    session.leave();
  },

  async "a page that comes back counts from what is stored"() {
    const session = new ParlandoClient("http://127.0.0.1:1").live({ resume: { id: "s", resumeToken: "token", lastSeq: 0 } });
    session.send(new Uint8Array(100));
    assert.equal(sockets.at(-1).query.start_at, undefined);
    sockets.at(-1).say({ ...GREETING, received: 1000, resumed: true, state: "open" });
    assert.equal(sockets.at(-1).bytes, 100);
    sockets.at(-1).say({ type: "ack", received: 1050, settled: 900, settled_ms: 56 });
    assert.equal(session.pending().length, 0);
    session.leave();
  },
};

for (const [name, test] of Object.entries(tests)) {
  await test();
  console.log(`ok: ${name}`);
}
console.log(`${Object.keys(tests).length} passed`);
