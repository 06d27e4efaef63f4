/** The overlay of the viewers' page (`?mode=overlay`): its options in the page's address, and when it clears. */

const MAX_CLEAR_S = 600;
const MAX_LINES = 6;
const COLOUR = /^#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i;
const POSITIONS = ["top", "middle", "bottom"];

const number = (least, most) => (text) => {
  const value = Number(text);
  return /^\d+(\.\d+)?$/.test(text) && value >= least && value <= most ? value : undefined;
};
const whole = (least, most) => (text) => (/^\d+$/.test(text) ? number(least, most)(text) : undefined);
const colour = (text) => (COLOUR.test(text) ? `#${text.replace("#", "")}` : undefined);

/** Name → the default, what is expected, and the value of a text, undefined if it isn't valid. */
const OPTIONS = {
  clear: [6, `seconds, from 0 (never) to ${MAX_CLEAR_S}`, number(0, MAX_CLEAR_S)],
  lines: [2, `1 to ${MAX_LINES}`, whole(1, MAX_LINES)],
  color: ["#ffffff", "a colour as hexadecimal digits, such as ffdd00", colour],
  background: ["#000000b8", "a colour as hexadecimal digits, such as 000000b8; 00000000 for none", colour],
  position: ["bottom", POSITIONS.join(", "), (text) => (POSITIONS.includes(text) ? text : undefined)],
};

/**
 * The options of an address: `clear` (seconds), `lines`, `color`, `background`, `position`. A value that isn't valid
 * counts as missing; the browser's console says what was expected.
 */
export function overlayOptions(query) {
  const found = {};
  for (const [name, [standard, expected, parse]] of Object.entries(OPTIONS)) {
    const text = query.get(name);
    const value = text === null ? standard : parse(text);
    if (value === undefined) console.warn(`${name}: expected ${expected}, but got ${JSON.stringify(text.slice(0, 40))}`);
    found[name] = value ?? standard;
  }
  return found;
}

/** Make the page an overlay with these options. */
export function showOverlay({ lines, color, background, position }) {
  document.body.classList.add("overlay");
  document.body.dataset.position = position;
  const { style } = document.documentElement;
  style.setProperty("--lines", String(lines));
  style.setProperty("--overlay-color", color);
  style.setProperty("--overlay-background", background);
}

/** Calls `clear` when there have been no new words for `seconds`; never if that is 0. */
export class ClearTimer {
  constructor(seconds, clear) {
    this.seconds = seconds;
    this.clear = clear;
    this.text = "";
  }

  /** The text that is shown now, of the open segment or of one that is settled. */
  shown(text) {
    if (!this.seconds || !text || text === this.text) return;
    this.text = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.clear, this.seconds * 1000);
  }
}
