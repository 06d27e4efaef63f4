/** Find and replace in the segments of a transcript; the times of the words are kept. Pure. */

import { placesOf } from "./text-ranges.js";

const SPECIAL = /[.*+?^${}()|[\]\\]/g;
const LETTER = "[\\p{L}\\p{N}\\p{M}]";

/** The expression that finds a text; null for an empty one. White space in `find` is any white space. */
function finderOf({ find, matchCase = false, wholeWords = false }) {
  const bare = find.trim();
  if (!bare) return null;
  const escaped = bare.replace(SPECIAL, "\\$&").replace(/\s+/g, "\\s+");
  const begins = wholeWords ? `(?<!${LETTER})` : "";
  const ends = wholeWords ? `(?!${LETTER})` : "";
  return new RegExp(`${begins}${escaped}${ends}`, matchCase ? "gu" : "giu");
}

/** How often a text is in the segments. */
export function countOf(segments, wanted) {
  const finder = finderOf(wanted);
  return finder ? segments.reduce((sum, { text }) => sum + (text.match(finder)?.length ?? 0), 0) : 0;
}

/** Segments after all replacements [{find, replace, matchCase, wholeWords}], one after the other. The given ones stay as they are. */
export function corrected(segments, replacements = []) {
  return segments.map((segment) => replacements.reduce(replacedIn, segment));
}

function replacedIn(segment, wanted) {
  const finder = finderOf(wanted);
  const places = finder ? [...segment.text.matchAll(finder)] : [];
  if (!places.length) return segment;
  const replacement = wanted.replace.trim();
  const text = segment.text.replace(finder, () => replacement).replace(/\s{2,}/g, " ").trim();
  const words = segment.words?.length ? wordsAfter(segment, places, replacement) : undefined;
  return { ...segment, text, ...(words ? { words } : {}) };
}

/** The words after a replacement: new ones share the time of those that they replace. */
function wordsAfter({ text, words }, places, replacement) {
  const spans = placesOf(text, words.map(({ word }) => word));
  const found = [];
  for (let n = 0; n < words.length; n++) {
    const span = spans[n];
    const touching = span && places.filter((place) => place.index < span.to && place.index + place[0].length > span.from);
    if (!touching?.length) {
      found.push(words[n]);
      continue;
    }
    let last = n; // the last word that these places reach, with the places that begin in it
    let reach = Math.max(...touching.map((place) => place.index + place[0].length));
    while (spans[last + 1] && spans[last + 1].from < reach) {
      last++;
      const more = places.filter((place) => place.index >= spans[last].from && place.index < spans[last].to);
      reach = Math.max(reach, ...more.map((place) => place.index + place[0].length));
    }
    const from = span.from;
    const to = Math.max(spans[last].to, reach);
    let written = "";
    let at = from;
    for (const place of places.filter(({ index }) => index < to && index >= from)) {
      written += text.slice(at, place.index) + replacement;
      at = place.index + place[0].length;
    }
    written += text.slice(at, to);
    found.push(...shared(written.split(/\s+/).filter(Boolean), words[n], words[last]));
    n = last;
  }
  return found;
}

/** Words in the time from the beginning of `first` to the end of `last`; long ones get more of it. */
function shared(texts, first, last) {
  const total = texts.reduce((sum, text) => sum + text.length, 0);
  let start = first.start;
  return texts.map((word) => {
    const end = start + ((last.end - first.start) * word.length) / total;
    const timed = { ...first, word, start: round(start), end: round(end) };
    start = end;
    return timed;
  });
}

const round = (seconds) => Math.round(seconds * 1000) / 1000;
