/** The Cluster view: numbers and small charts, updated every second. */

import { Chart } from "./chart.js";
import { $, GATEWAY, explain, make } from "./dom.js";

const STAGES = {
  store: "Store audio in Redis",
  queue: "Wait for the speech engine",
  engine: "Decode a window",
  final: "From end of speech to final text",
  deliver: "Deliver to the client",
};
const ms = (value) => (value === null || value === undefined ? "–" : `${value && value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);

const MANY = 8; // more languages than this are counted, not listed
const languages = (codes) => (codes.length > MANY ? `${codes.length} languages` : codes.join(", ") || "any");

const TILES = [
  ["Live sessions", (c) => c.sessions.open, (c) => `${c.sessions.open} of ${c.sessions.capacity}`],
  ["Lag", (c) => c.lag_ms, (c) => ms(c.lag_ms)],
  ["Queue delay", (c) => c.queue_delay_ms, (c) => ms(c.queue_delay_ms)],
  ["Engine load", (c) => c.engine_load ?? 0, (c) => percent(c.engine_load)],
  ["Real-time factor", (c) => c.real_time_factor ?? 0, (c) => c.real_time_factor?.toFixed(3) ?? "–"],
  ["Jobs waiting", (c) => c.jobs.waiting, (c) => c.jobs.waiting],
  ["Chunks being decoded", (c) => c.jobs.chunks_being_heard, (c) => c.jobs.chunks_being_heard],
  ["Viewers", (c) => c.viewers, (c) => c.viewers],
];

export class ClusterView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.tiles = TILES.map(([name, number, text]) => {
      const value = make("p", { className: "value" }, "–");
      const chart = new Chart(name);
      $("cluster-tiles").append(make("div", { className: "tile" }, make("p", { className: "small" }, name), value, chart.element));
      return { number, text, value, chart };
    });
    this.stages = Object.entries(STAGES).map(([stage, name]) => this.stage(stage, name));
    const head = row("th", ["Stage", "Median (p50)", "95 % within (p95)", "Measurements", "Median, last 2 minutes"]);
    $("cluster-stages").append(make("thead", {}, head), make("tbody", {}, ...this.stages.map((each) => each.row)));
  }

  stage(stage, name) {
    const [p50, p95, count] = [make("td"), make("td"), make("td")];
    const chart = new Chart(`Median: ${name}`);
    return { stage, p50, p95, count, chart, row: make("tr", {}, make("td", {}, name), p50, p95, count, make("td", {}, chart.element)) };
  }

  /** Called when the view is shown or hidden. The event stream is open only while it is visible. */
  shown(visible) {
    this.watching?.abort();
    this.watching = visible ? new AbortController() : null;
    if (visible) this.watch(this.watching.signal);
  }

  refresh() {
    if (this.watching) this.shown(true);
  }

  async watch(signal) {
    const onconnection = (connected) => {
      if (connected) this.showState("open", "Live");
      else this.showState("reconnecting", "Connection lost, reconnecting");
    };
    try {
      for await (const cluster of this.client.watchCluster({ signal, onconnection })) {
        if (signal.aborted) return;
        if (cluster.detail) this.showState("failed", cluster.detail);
        else this.draw(cluster);
      }
    } catch (error) {
      if (!signal.aborted && !this.needsKey(error)) this.showState("failed", explain(error));
    }
  }

  showState(state, text) {
    $("cluster-state").dataset.state = state;
    if ($("cluster-state").textContent !== text) $("cluster-state").textContent = text;
  }

  draw(cluster) {
    if (cluster.transcribers.length) this.showState("open", "Live");
    else this.showState("failed", "No transcriber is running");
    for (const { number, text, value, chart } of this.tiles) {
      value.textContent = text(cluster);
      chart.add(number(cluster), value.textContent);
    }
    for (const { stage, p50, p95, count, chart } of this.stages) {
      const found = cluster.latency_ms[stage];
      p50.textContent = ms(found.p50);
      p95.textContent = ms(found.p95);
      count.textContent = found.count;
      chart.add(found.p50 ?? 0, ms(found.p50));
    }
    const pools = cluster.pools.map((p) => [
      p.name,
      languages(p.languages),
      p.tasks.join(", "),
      p.workers || "none is running",
      `${p.sessions} of ${p.capacity}`,
      p.chunks,
    ]);
    const [waitingSessions, waitingJobs] = [cluster.sessions.unassigned, cluster.jobs.unassigned];
    if (waitingSessions || waitingJobs) {
      pools.push(["Without a pool yet", "", "", "none can do them", waitingSessions, `${waitingJobs} jobs`]);
    }
    fill($("cluster-pools"), ["Pool", "Languages", "Tasks", "Transcribers", "Sessions", "Chunks"], pools);
    const processes = [
      ...cluster.gateways.map((g) => ["Gateway", g.worker, `${g.connections} connections, ${g.viewers} viewers`, ""]),
      ...cluster.song_recognizers.map((r) => ["Song recognizer", r.worker, `${r.sessions} sessions, ${r.songs} songs`, ""]),
      ...cluster.analyzers.map((a) => ["Analyzer", a.worker, `${a.analyses} analyses`, a.language_model ? "language model" : ""]),
      ...cluster.audio_processors.map((p) => ["Audio-processor", p.worker, `${p.sessions} of ${p.capacity} sessions, ${p.jobs} jobs`, ""]),
      ...cluster.transcribers.map((t) => [
        "Transcriber",
        t.worker,
        `${t.sessions} of ${t.capacity} sessions (${t.capacity_reason}), ${t.chunks} chunks`,
        `${t.engine} ${t.model}, ${percent(t.engine_load)} load`,
      ]),
    ];
    fill($("cluster-processes"), ["Type", "Name", "Work", "Engine"], processes);
    const sessions = cluster.your_sessions.map((s) => [
      make("a", { href: `${GATEWAY}/watch/${encodeURIComponent(s.session_id)}` }, s.title || s.session_id),
      s.state,
      s.pool,
      `${Math.round(s.received_ms / 1000)} s`,
      ms(s.lag_ms),
      s.segments,
    ]);
    fill($("cluster-sessions"), ["Session", "State", "Pool", "Audio received", "Lag", "Segments"], sessions);
  }
}

function row(tag, cells) {
  return make("tr", {}, ...cells.map((cell) => make(tag, {}, cell instanceof Node ? cell : String(cell))));
}

/** Fill a table, unless its content is unchanged. */
function fill(table, names, rows) {
  const content = JSON.stringify(rows.map((cells) => cells.map((cell) => cell.textContent ?? cell)));
  if (table.dataset.content === content) return;
  table.dataset.content = content;
  const body = rows.length ? rows.map((cells) => row("td", cells)) : [row("td", ["None"])];
  table.replaceChildren(make("thead", {}, row("th", names)), make("tbody", {}, ...body));
}
