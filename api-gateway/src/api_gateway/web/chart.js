/** Line charts of the last minutes, as inline SVG, which fill their width from the first seconds on. */

import { shape } from "./dom.js";

const POINTS = 180; // one a second: three minutes
const HEIGHT = 40;
const LEAST = 10; // points over which the first values are spread

/** One or more lines over the same time. The first one has an area below it. */
export class Chart {
  /** @param {string} name for screen readers. @param {{lines?: string[], limit?: boolean, axes?: boolean}} [options]
   *    `lines`: names of the lines; `limit`: a dashed line above them; `axes`: with labels of the axes. */
  constructor(name, { lines = [""], limit = false, axes = false } = {}) {
    this.name = name;
    this.lines = lines.map(() => []);
    this.svg = shape("svg", { class: "chart", viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.svg.setAttribute("aria-label", name);
    this.area = shape("path", { class: "area" });
    this.strokes = lines.map((_, n) => shape("path", { class: `stroke line-${n}` }));
    this.limit = limit ? shape("path", { class: "limit" }) : null;
    this.svg.append(this.area, ...(this.limit ? [this.limit] : []), ...this.strokes);
    this.element = this.svg;
    if (axes) {
      this.top = label("chart-top");
      this.since = label("chart-since");
      this.element = document.createElement("div");
      this.element.className = "chart-frame";
      this.element.append(this.top, this.svg, this.since, label("chart-now", "now"));
    }
  }

  /** Add a value of each line. `text`: the values for screen readers; `limit`: where the dashed line is;
   *  `shown`: makes the label of the upper edge from its value. */
  add(values, text, { limit = null, shown = String } = {}) {
    this.lines = this.lines.map((line, n) => [...line, values[n] ?? null].slice(-POINTS));
    const known = this.lines.flat().filter((value) => value !== null);
    const top = ceiling(Math.max(0, limit ?? 0, ...known));
    const count = this.lines[0].length;
    const width = Math.max(count, LEAST) - 1;
    const x = (n) => ((100 * (n + width + 1 - count)) / width).toFixed(2);
    const y = (value) => (HEIGHT - 0.5 - (value / top) * (HEIGHT - 0.5)).toFixed(2);
    this.lines.forEach((line, n) => this.strokes[n].setAttribute("d", path(line, x, y)));
    this.area.setAttribute("d", areaBelow(this.lines[0], x, y));
    this.limit?.setAttribute("d", limit === null ? "" : `M0,${y(limit)}L100,${y(limit)}`);
    this.svg.setAttribute("aria-label", `${this.name}: ${text}`);
    if (this.top) {
      this.top.textContent = shown(top);
      this.since.textContent = width < 100 ? `${width} s ago` : `${Math.round(width / 60)} min ago`;
    }
  }
}

/** The lines of a series with gaps where a value is null. */
function path(line, x, y) {
  let pen = "M";
  let drawn = "";
  line.forEach((value, n) => {
    if (value === null) pen = "M";
    else {
      drawn += `${pen}${x(n)},${y(value)}`;
      pen = "L";
    }
  });
  return drawn;
}

function areaBelow(line, x, y) {
  const points = line.map((value, n) => `${x(n)},${y(value ?? 0)}`);
  return `M${x(0)},${HEIGHT}L${points.join("L")}L100,${HEIGHT}Z`;
}

/** The next round number: 1, 2 or 5 times a power of ten. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * unit).find((each) => each >= value);
}

function label(className, text = "") {
  const element = document.createElement("span");
  element.className = className;
  element.setAttribute("aria-hidden", "true"); // the picture's label says it
  element.textContent = text;
  return element;
}
