/** Stacked bars over days or months, as inline SVG with text labels. A table beside them has the numbers. */

import { ceiling } from "./chart.js";
import { make, shape } from "./dom.js";

const HEIGHT = 60;
const FILLED = 0.8; // of the width of a place; the rest is the gap between bars
const MOST_FILLED = 6; // widest bar, percent of the width

/**
 * A plot of `places` (their labels) with `series`: `{name, values, style}`, one value per place, stacked in their order;
 * `style`: number of the CSS class.
 * `name`: of the plot; `text`: makes a text from a value; `units`: the upper edge is a round number of the largest of
 * these that fits.
 */
export function bars(name, places, series, text, units = [1]) {
  const sums = places.map((_, n) => series.reduce((sum, { values }) => sum + values[n], 0));
  const highest = Math.max(0, ...sums);
  const unit = units.findLast((each) => each <= highest) ?? units[0];
  const top = ceiling(highest / unit) * unit;
  const svg = shape("svg", { class: "bars", viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", described(name, places, sums, series, text));
  const slot = 100 / places.length;
  const width = Math.min(slot * FILLED, MOST_FILLED);
  places.forEach((place, n) => {
    let from = HEIGHT;
    series.forEach(({ name: part, values, style }) => {
      const height = (values[n] / top) * HEIGHT;
      if (!height) return;
      from -= height;
      const x = (slot * (n + 0.5) - width / 2).toFixed(3);
      const size = { width: width.toFixed(3), height: height.toFixed(3) };
      const bar = shape("rect", { class: `bar bar-${style}`, x, y: from.toFixed(3), ...size });
      const hint = shape("title");
      hint.textContent = `${place}, ${part}: ${text(values[n])}`;
      bar.append(hint);
      svg.append(bar);
    });
  });
  const frame = make("div", { className: "bars-frame" }, label("bars-top", text(top)), svg, label("bars-first", places[0]));
  if (places.length > 1) frame.append(label("bars-last", places.at(-1)));
  return frame;
}

/** What the plot shows, for screen readers. */
function described(name, places, sums, series, text) {
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  const parts = series.map((each) => `${each.name} ${text(total(each.values))}`).join(", ");
  const most = sums.indexOf(Math.max(...sums));
  const highest = sums[most] ? ` Most on ${places[most]}: ${text(sums[most])}.` : "";
  return `${name}, ${places[0]} to ${places.at(-1)}: ${text(total(sums))} in all (${parts}).${highest}`;
}

/** A label that screen readers skip: the picture's own label says it. */
const label = (className, text) => make("span", { className, ariaHidden: "true" }, text);
