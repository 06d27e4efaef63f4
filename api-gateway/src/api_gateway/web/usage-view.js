/** The Usage view: audio, costs and tokens per day as plots, totals, a table of the same numbers, and CSV. */

import { bars } from "./bars.js";
import { $, clock, explain, make, save, showNotice } from "./dom.js";

const DAY_MS = 86_400_000;
const MOST_BARS = 92; // a longer range is shown by month
const MOST_ROWS = 1000; // of the table; the CSV has all

const hours = (seconds) => clock(seconds);
const dollars = (value) => (value && value < 0.01 ? `$${value.toFixed(6)}` : `$${value.toFixed(2)}`);
const count = (value) => value.toLocaleString();

const PLOTS = [
  {
    name: "Audio",
    unit: "hours, minutes, seconds",
    text: hours,
    units: [1, 60, 3600],
    parts: {
      live: "live_audio_s",
      recordings: "job_audio_s",
      Omi: "omi_audio_s",
      "counted per month": "earlier_audio_s",
    },
  },
  {
    name: "Cost",
    unit: "US dollars",
    text: dollars,
    parts: { audio: "audio_cost_usd", "language model": "llm_cost_usd" },
  },
  {
    name: "Tokens of language models",
    unit: "tokens",
    text: count,
    parts: { input: "llm_input_tokens", output: "llm_output_tokens" },
  },
];
const TOTALS = [
  ["Audio", "audio_s", hours],
  ["Live", "live_audio_s", hours],
  ["Recordings", "job_audio_s", hours],
  ["Omi", "omi_audio_s", hours],
  ["Sessions", "sessions", count],
  ["Jobs", "jobs", count],
  ["Tokens in", "llm_input_tokens", count],
  ["Tokens out", "llm_output_tokens", count],
  ["Cost", "cost_usd", dollars],
];

const COLUMNS = TOTALS.map(([name]) => name);

const iso = (time) => new Date(time).toISOString().slice(0, 10);

/** The first and the last day of a named period, in UTC. */
function period(name, now = Date.now()) {
  const today = new Date(now);
  const first = (months) => Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + months, 1);
  if (name === "last-month") return [iso(first(-1)), iso(first(0) - DAY_MS)];
  if (name === "30-days") return [iso(now - 29 * DAY_MS), iso(now)];
  if (name === "year") return [iso(first(-11)), iso(now)];
  return [iso(first(0)), iso(now)];
}

export class UsageView {
  constructor(client, needsKey) {
    this.client = client;
    this.needsKey = needsKey;
    this.choose("month");
    $("usage-period").addEventListener("change", ({ target }) => {
      if (target.value) this.choose(target.value);
      this.refresh();
    });
    for (const id of ["usage-from", "usage-to"]) {
      $(id).addEventListener("change", () => ($("usage-period").value = ""));
    }
    $("usage-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.refresh();
    });
    $("usage-csv").addEventListener("click", () => this.download());
  }

  shown(visible) {
    this.visible = visible;
    if (visible) this.refresh();
    else this.reading?.abort();
  }

  choose(name) {
    [$("usage-from").value, $("usage-to").value] = period(name);
  }

  /** What is asked for; an empty field is left out. */
  get query() {
    return { from: $("usage-from").value, to: $("usage-to").value, owner: $("usage-owner").value.trim() };
  }

  async refresh() {
    if (!this.visible) return;
    this.reading?.abort();
    const { signal } = (this.reading = new AbortController());
    try {
      const found = await this.client.usage.get({ ...this.query, signal });
      showNotice($("usage-notice"), "");
      this.draw(found);
    } catch (error) {
      if (signal.aborted) return;
      $("usage-results").hidden = true;
      this.showError(error);
    }
  }

  async download() {
    try {
      const { from, to } = this.query;
      save(`usage-${from}-${to}.csv`, await this.client.usage.csv(this.query), "text/csv");
    } catch (error) {
      this.showError(error);
    }
  }

  draw(found) {
    const totals = TOTALS.map(([name, field, text]) => {
      return make("div", {}, make("dt", {}, name), make("dd", {}, text(found.total[field])));
    });
    $("usage-totals").replaceChildren(...totals);
    const { places, sums, by } = grouped(found);
    $("usage-plots").replaceChildren(...PLOTS.map((plot) => this.plot(plot, places, sums, by)).filter(Boolean));
    this.fill(found.days);
    const empty = "Nothing was used in these days. Audio is counted with the final text that it belongs to.";
    showNotice($("usage-notice"), found.days.length ? "" : empty);
    $("usage-results").hidden = !found.days.length;
  }

  /** A plot; none if it would be empty. */
  plot({ name, unit, text, units, parts }, places, sums, by) {
    const series = Object.entries(parts)
      .map(([part, field], style) => ({ name: part, values: sums.map((sum) => sum[field]), style }))
      .filter(({ values }) => values.some((value) => value));
    if (!series.length) return null;
    const title = `${name} per ${by}`;
    const legend = series.map((each) => make("li", { className: `bar-${each.style}` }, each.name));
    const head = make("h2", {}, title, make("span", { className: "small" }, ` ${unit}`));
    const list = make("ul", { className: "bars-legend" }, ...legend);
    return make("div", { className: "usage-plot" }, head, list, bars(title, places, series, text, units));
  }

  /** The table; with the owners if there are several. */
  fill(days) {
    const several = new Set(days.map((day) => day.owner)).size > 1;
    const names = several ? ["Day", "Owner", ...COLUMNS] : ["Day", ...COLUMNS];
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
    const rows = days.slice(-MOST_ROWS).reverse().map((day) => {
      const owner = several ? [day.owner_name ?? day.owner] : [];
      const cells = [...owner, ...TOTALS.map(([, field, text]) => text(day[field]))];
      return make("tr", {}, make("th", { scope: "row" }, day.day), ...cells.map((cell) => make("td", {}, cell)));
    });
    $("usage-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
    const left = `The table has the last ${count(MOST_ROWS)} of ${count(days.length)} rows; the CSV file has all. `;
    $("usage-hint").textContent = `${days.length > MOST_ROWS ? left : ""}Days are days in UTC.`;
  }

  showError(error) {
    if (!this.needsKey(error)) showNotice($("usage-notice"), explain(error), "bad");
  }
}

/** The sums of all owners for each day, or each month of a long range: labels, sums, "day" or "month". */
function grouped({ from, to, days }) {
  const last = to < iso(Date.now()) ? to : iso(Date.now());
  const start = days[0]?.day ?? last;
  const whole = (Date.parse(last) - Date.parse(from)) / DAY_MS < MOST_BARS;
  const size = whole ? 10 : 7;
  const places = [];
  for (let at = Date.parse(whole ? from : start); at <= Date.parse(last) + (whole ? 0 : 27 * DAY_MS); at += DAY_MS) {
    const place = iso(at).slice(0, size);
    if (place <= last.slice(0, size) && places.at(-1) !== place) places.push(place);
  }
  const fields = PLOTS.flatMap(({ parts }) => Object.values(parts));
  const sums = new Map(places.map((place) => [place, Object.fromEntries(fields.map((field) => [field, 0]))]));
  for (const day of days) {
    const sum = sums.get(day.day.slice(0, size));
    if (sum) for (const field of fields) sum[field] += day[field];
  }
  return { places, sums: [...sums.values()], by: whole ? "day" : "month" };
}
