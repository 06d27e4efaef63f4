/** A line chart of the last two minutes, as inline SVG. */

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 120;
const HEIGHT = 40;

export class Chart {
  constructor(name) {
    this.name = name;
    this.values = [];
    this.element = shape("svg", { class: "chart", viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.element.setAttribute("aria-label", name);
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "stroke" });
    this.element.append(this.area, this.line);
  }

  /** Add a value. `text`: the value for screen readers. */
  add(value, text) {
    this.values = [...this.values, value].slice(-POINTS);
    const top = Math.max(...this.values) * 1.15 || 1;
    const first = POINTS - this.values.length;
    const points = this.values.map((each, n) => `${first + n},${(HEIGHT - 1 - (each / top) * (HEIGHT - 4)).toFixed(2)}`);
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${first},${HEIGHT}L${points.join("L")}L${POINTS - 1},${HEIGHT}Z`);
    this.element.setAttribute("aria-label", `${this.name}: ${text}`);
  }
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
