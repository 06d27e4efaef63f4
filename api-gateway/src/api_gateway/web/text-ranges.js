/** Ranges in the text of an element, whatever elements are inside; and highlights over them, which change no markup. */

/** The range of the characters `from` to `to` (UTF-16 units) of an element's text; null if there is no such text. */
export function rangeIn(element, from, to) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  let begun = false;
  for (let before = 0, node; (node = walker.nextNode()); before += node.length) {
    if (!begun && from < before + node.length) {
      range.setStart(node, from - before);
      begun = true;
    }
    if (begun && to <= before + node.length) {
      range.setEnd(node, to - before);
      return range;
    }
  }
  return null;
}

/** The position in an element's text that is under a point of the window; null if there is none. */
export function positionAt(element, x, y) {
  const caret = document.caretPositionFromPoint?.(x, y);
  const found = caret
    ? { node: caret.offsetNode, offset: caret.offset }
    : fromRange(document.caretRangeFromPoint?.(x, y)); // Safari
  if (!found || !element.contains(found.node)) return null;
  const range = document.createRange();
  range.setStart(element, 0);
  range.setEnd(found.node, found.offset);
  return range.toString().length;
}

const fromRange = (range) => range && { node: range.startContainer, offset: range.startOffset };

/** Show these ranges in the style `::highlight(name)`; older browsers show nothing. */
export function highlightRanges(name, ranges) {
  if (!globalThis.CSS?.highlights) return;
  if (ranges.length) CSS.highlights.set(name, new Highlight(...ranges));
  else CSS.highlights.delete(name);
}

/** The places of words in a text: [{from, to}], one for each word, undefined where a word isn't found. */
export function placesOf(text, words) {
  let at = 0;
  return words.map((word) => {
    const wanted = word.trim();
    const from = wanted ? text.indexOf(wanted, at) : -1;
    if (from < 0) return undefined;
    at = from + wanted.length;
    return { from, to: at };
  });
}
