/** The Cluster view: what needs attention, charts of the last minutes, latencies, processes; updated every second. */

import { Chart } from "./chart.js";
import { advice, counted, summary } from "./cluster-advice.js";
import { DeadLetters } from "./dead-letters.js";
import { $, GATEWAY, explain, make } from "./dom.js";

const STAGES = {
  store: "Store audio in Redis",
  queue: "Wait for the speech engine",
  engine: "Decode a window",
  final: "From the end of speech to the final text",
  deliver: "Deliver to the client",
};
const known = (value) => value !== null && value !== undefined;
const ms = (value) => {
  if (!known(value)) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value && value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
};
const percent = (value) => (known(value) ? `${Math.round(value * 100)} %` : "–");

const MANY = 8; // more languages than this are counted, not listed
const languages = (codes) => (codes.length > MANY ? `${codes.length} languages` : codes.join(", ") || "any");

// `lines`: names; `values`: of the lines; `text`: of the values; `limit`: a dashed line; `shown`: label of the upper edge.
const CHARTS = [
  {
    name: "Live sessions",
    values: (c) => [c.sessions.open],
    text: (c) => `${c.sessions.open} of ${c.sessions.capacity}`,
    limit: (c) => c.sessions.capacity,
  },
  {
    name: "Final text after the end of speech",
    lines: ["half within", "95 % within"],
    values: (c) => [c.latency_ms.final.p50, c.latency_ms.final.p95],
    text: (c) => (known(c.latency_ms.final.p50) ? `${ms(c.latency_ms.final.p50)}, at most ${ms(c.latency_ms.final.p95)}` : "–"),
    shown: ms,
  },
  { name: "Load of the speech engines", values: (c) => [c.engine_load ?? null], text: (c) => percent(c.engine_load), limit: () => 1, shown: percent },
  {
    name: "Recordings",
    lines: ["waiting", "pieces being decoded"],
    values: (c) => [c.jobs.waiting, c.jobs.chunks_being_heard],
    text: (c) => `${c.jobs.waiting} waiting`,
  },
];

export class ClusterView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.letters = new DeadLetters(client);
    this.charts = CHARTS.map((each) => this.chart(each));
    this.stages = Object.entries(STAGES).map(([stage, name]) => this.stage(stage, name));
    const head = row("th", ["Stage", "Half within", "95 % within", "Measurements", "Last three minutes"]);
    $("cluster-stages").append(make("thead", {}, head), make("tbody", {}, ...this.stages.map((each) => each.row)));
  }

  chart(spec) {
    const value = make("p", { className: "value" }, "–");
    const chart = new Chart(spec.name, { lines: spec.lines, limit: Boolean(spec.limit), axes: true });
    const legend = (spec.lines ?? []).map((name, n) => make("span", { className: `legend line-${n}` }, name));
    const head = make("p", { className: "small" }, spec.name, ...legend);
    $("cluster-charts").append(make("div", { className: "panel" }, head, value, chart.element));
    return { ...spec, value, chart };
  }

  stage(stage, name) {
    const [p50, p95, count] = [make("td"), make("td"), make("td")];
    const chart = new Chart(`Half within, and 95 % within: ${name}`, { lines: ["half within", "95 % within"] });
    return { stage, p50, p95, count, chart, row: make("tr", {}, make("td", {}, name), p50, p95, count, make("td", {}, chart.element)) };
  }

  /** Called when the view is shown or hidden. The event stream is open only while it is visible. */
  shown(visible) {
    this.watching?.abort();
    this.watching = visible ? new AbortController() : null;
    this.letters.shown(visible);
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

  showAdvice(found) {
    const text = JSON.stringify(found);
    if (this.advised === text) return;
    this.advised = text;
    $("cluster-advice").replaceChildren(...found.map(({ kind, text }) => make("li", { className: "notice", dataset: { kind } }, text)));
    $("cluster-advice").hidden = !found.length;
  }

  draw(cluster) {
    this.showState(cluster.transcribers.length ? "open" : "failed", summary(cluster));
    this.showAdvice(advice(cluster));
    for (const { values, text, limit, shown, value, chart } of this.charts) {
      value.textContent = text(cluster);
      chart.add(values(cluster), value.textContent, { limit: limit ? limit(cluster) : null, shown });
    }
    for (const { stage, p50, p95, count, chart } of this.stages) {
      const found = cluster.latency_ms[stage];
      p50.textContent = ms(found.p50);
      p95.textContent = ms(found.p95);
      count.textContent = found.count;
      chart.add([found.p50, found.p95], `${ms(found.p50)}, ${ms(found.p95)}`);
    }
    const pace = cluster.real_time_factor;
    const parts = [known(pace) ? `A second of audio takes ${ms(1000 * pace)} of engine time.` : ""];
    if (cluster.viewers) parts.push(`${counted(cluster.viewers, "viewer")} of shared sessions.`);
    $("cluster-numbers").textContent = parts.filter(Boolean).join(" ");
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
      ...cluster.gateways.map((g) => ["Gateway", g.worker, `${counted(g.connections, "connection")}, ${counted(g.viewers, "viewer")}`, ""]),
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
