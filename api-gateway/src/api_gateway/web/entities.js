/** Named entities in a text on screen: marks with a colour and a label. */

import { make } from "./dom.js";

/** OntoNotes' labels → their names for readers, and the colour. */
const LABELS = {
  PERSON: ["person", "person"],
  NORP: ["group", "group"],
  ORG: ["organisation", "group"],
  GPE: ["place", "place"],
  LOC: ["place", "place"],
  FAC: ["building", "place"],
  PRODUCT: ["product", "thing"],
  EVENT: ["event", "thing"],
  WORK_OF_ART: ["work", "thing"],
  LAW: ["law", "thing"],
  LANGUAGE: ["language", "thing"],
  DATE: ["date", "time"],
  TIME: ["time", "time"],
  PERCENT: ["percentage", "number"],
  MONEY: ["money", "number"],
  QUANTITY: ["quantity", "number"],
  ORDINAL: ["ordinal", "number"],
  CARDINAL: ["number", "number"],
};

const described = (label) => LABELS[label] ?? [label.replaceAll("_", " ").toLowerCase(), "thing"];

/** An empty mark for an entity. Its label is drawn by the style sheet, so it isn't copied with the text. */
export function mark({ text, label }) {
  const [name, colour] = described(label);
  const properties = { className: "entity", role: "group", tabIndex: 0, ariaLabel: `${text}, ${name}` };
  return make("mark", { ...properties, dataset: { colour, label: name } });
}

/** A mark with its text, for lists. */
export function chip(entity) {
  const [name, colour] = described(entity.label);
  return make("mark", { className: "entity", dataset: { colour, label: name } }, entity.text);
}

/** The name of an entity's label for readers. */
export const nameOf = (label) => described(label)[0];

/** The entities that are in `text`, in order, with `from` and `to` in UTF-16 units. Offsets count characters. */
export function placed(text, entities) {
  const units = [0]; // character → UTF-16 units before it
  for (const character of text) units.push(units.at(-1) + character.length);
  return entities
    .map((entity) => ({ ...entity, from: units[entity.start], to: units[entity.end] }))
    .filter(({ from, to, text: found }) => from < to && text.slice(from, to) === found)
    .sort((a, b) => a.from - b.from)
    .filter(({ from }, place, all) => !place || from >= all[place - 1].to);
}

/** Mark the entities of a segment in an element that has its text as one text node. */
export function highlight(element, entities) {
  const node = element.firstChild;
  if (!node || node.nodeType !== Node.TEXT_NODE || element.childNodes.length > 1) return;
  for (const entity of placed(node.data, entities).reverse()) {
    node.splitText(entity.to);
    const middle = node.splitText(entity.from);
    const wrapper = mark(entity);
    middle.replaceWith(wrapper);
    wrapper.append(middle);
  }
}

/** Mark the entities of a segment whose words are `buttons` with text between them. */
export function highlightWords(text, buttons, entities) {
  let at = 0;
  const ranges = [];
  for (const button of buttons) {
    const word = button.textContent.trim();
    const from = text.indexOf(word, at);
    if (!word || from < 0) continue;
    at = from + word.length;
    ranges.push({ button, from, to: at });
  }
  for (const entity of placed(text, entities)) {
    const within = ranges.filter(({ button, from, to }) => from < entity.to && to > entity.from && !button.closest(".entity"));
    if (!within.length) continue;
    const wrapper = mark(entity);
    const last = within.at(-1).button;
    within[0].button.before(wrapper);
    while (wrapper.lastChild !== last) wrapper.append(wrapper.nextSibling);
  }
}

/** Entities by the number of their segment. */
export const bySegment = (entities = []) => Map.groupBy(entities, ({ segment }) => segment);
