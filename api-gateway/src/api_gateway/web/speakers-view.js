/** Speakers on screen: the heads of their turns, the list with shares and filter, and the dialog that renames them. */

import { clock, explain, make, showNotice } from "./dom.js";

/** Add the place of a speaker's name to a line; `regroup` fills it. */
export function addHead(line) {
  line.prepend(make("b", { className: "speaker", hidden: true }));
  return line;
}

/** Show a speaker's colour, and the name if the line begins a turn. `label`: none if the speaker is unknown. */
export function drawHead(line, speakers, label, begins) {
  const head = line.firstElementChild;
  const name = label && begins ? speakers.nameOf(label) : "";
  if (head.textContent !== name) head.textContent = name;
  head.hidden = !name;
  if (label) line.dataset.voice = speakers.colourOf(label);
  else delete line.dataset.voice;
}

/** Group lines under their speakers, and hide those that the filter leaves out. Returns the last person shown. */
export function regroup(lines, speakers) {
  let before;
  for (const line of lines) {
    if (line.dataset.segment === undefined) continue; // a remark
    const label = speakers.labelOf(Number(line.dataset.segment));
    line.hidden = Boolean(label) && speakers.isHidden(label);
    if (line.hidden) continue;
    const person = label && speakers.personOf(label);
    drawHead(line, speakers, label, person !== before);
    before = person;
  }
  return before;
}

/** Change the lines of a scrolled element so that what is read stays at its place. */
export function keepingPlace(root, lines, change) {
  const { top } = root.getBoundingClientRect();
  const words = lines.filter(({ hidden }) => !hidden).map((line) => line.querySelector(".said") ?? line.lastElementChild);
  const anchor = words.find((each) => each.getBoundingClientRect().bottom > top);
  const before = anchor?.getBoundingClientRect().top;
  change();
  if (anchor?.isConnected && anchor.checkVisibility()) root.scrollTop += anchor.getBoundingClientRect().top - before;
}

/** Write the current names into all elements that name a speaker. */
export function showNames(root, speakers) {
  for (const element of root.querySelectorAll("[data-speaker]")) {
    const name = speakers.nameOf(element.dataset.speaker);
    if (element.textContent !== name) element.textContent = name;
  }
}

/** A list of the people who speak: share, turns, a filter, and a button that renames them. */
export class SpeakersPanel {
  /** `rename(label, name)`: stores a name, null for none; without it speakers cannot be renamed. */
  constructor(speakers, { rename } = {}) {
    this.speakers = speakers;
    this.rows = new Map(); // first label → its elements
    this.dialog = rename && new RenameDialog(speakers, rename);
    this.toggle = make("button", { type: "button", className: "quiet toggle", ariaExpanded: "false" });
    this.list = make("ul", { ariaLabel: "Speakers", hidden: true });
    this.element = make("div", { className: "speakers", hidden: true }, this.toggle, this.list);
    this.toggle.addEventListener("click", () => {
      this.list.hidden = !this.list.hidden;
      this.toggle.ariaExpanded = String(!this.list.hidden);
    });
    for (const type of ["said", "changed"]) speakers.addEventListener(type, () => this.draw());
  }

  draw() {
    const people = this.speakers.people();
    this.element.hidden = !people.length;
    const hidden = people.filter(({ shown }) => !shown).length;
    const text = `Speakers: ${people.length}${hidden ? ` (${hidden} hidden)` : ""}`;
    if (this.toggle.textContent !== text) this.toggle.textContent = text;
    const rows = people.map((person) => this.row(person));
    const current = new Set(people.map(({ labels }) => labels[0]));
    for (const label of [...this.rows.keys()]) if (!current.has(label)) this.rows.delete(label);
    const inPlace = rows.length === this.list.childElementCount && rows.every((row, n) => row === this.list.children[n]);
    if (!inPlace) this.list.replaceChildren(...rows);
  }

  row(person) {
    const key = person.labels[0];
    if (!this.rows.has(key)) this.rows.set(key, this.newRow(key));
    const { element, shown, name, bar, figures, button } = this.rows.get(key);
    this.rows.get(key).person = person;
    element.dataset.voice = person.colour;
    shown.checked = person.shown;
    const percent = Math.round(person.share * 100);
    const turns = person.turns === 1 ? "1 turn" : `${person.turns} turns`;
    bar.style.width = `${percent}%`;
    for (const [part, text] of [[name, person.name], [figures, `${percent} %, ${turns}, ${clock(person.seconds)}`]]) {
      if (part.textContent !== text) part.textContent = text;
    }
    name.title = person.score === undefined ? "" : `Recognised by the voice, score ${person.score.toFixed(2)}`;
    if (button) button.ariaLabel = `Rename ${person.name}`;
    return element;
  }

  newRow(key) {
    const shown = make("input", { type: "checkbox" });
    const name = make("span", { className: "speaker" });
    const bar = make("span");
    const figures = make("span", { className: "figures" });
    const label = make("label", { className: "inline" }, shown, name);
    const element = make("li", {}, label, make("span", { className: "share", ariaHidden: "true" }, bar), figures);
    shown.addEventListener("change", () => this.speakers.show(this.rows.get(key).person.labels, shown.checked));
    const button = this.dialog && make("button", { type: "button", className: "quiet" }, "Rename");
    if (button) element.append(button);
    button?.addEventListener("click", () => this.dialog.open(this.rows.get(key).person));
    return { element, shown, name, bar, figures, button };
  }
}

class RenameDialog {
  constructor(speakers, rename) {
    this.speakers = speakers;
    this.rename = rename;
    this.title = make("h2");
    this.input = make("input", { type: "text", maxLength: 100, autocomplete: "off", spellcheck: false });
    this.notice = make("p", { className: "notice", role: "status", hidden: true });
    const button = (text, className, onclick) => {
      const element = make("button", { type: "button", className }, text);
      element.addEventListener("click", onclick);
      return element;
    };
    this.remove = button("Remove the name", "quiet", () => this.save(null));
    const cancel = button("Cancel", "", () => this.element.close());
    const actions = make("div", { className: "actions" }, this.remove, " ", cancel, " ", make("button", { className: "primary" }, "Save"));
    const why = "Everybody who reads this transcript sees the name. Speakers with the same name are shown as one.";
    const label = make("label", {}, make("span", {}, "Name"), this.input);
    const form = make("form", {}, this.title, label, make("p", { className: "small" }, why), this.notice, actions);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save(this.input.value.trim() || null);
    });
    this.element = make("dialog", { className: "rename", ariaLabel: "Rename a speaker" }, form);
    this.element.addEventListener("close", () => this.element.remove());
  }

  open(person) {
    this.labels = person.labels;
    const named = this.labels.some((label) => this.speakers.names.has(label));
    this.title.textContent = `Rename ${person.name}`;
    this.input.value = named ? person.name : "";
    this.remove.hidden = !named;
    showNotice(this.notice, "");
    document.body.append(this.element);
    this.element.showModal();
    this.input.select();
  }

  async save(name) {
    try {
      for (const label of this.labels) {
        await this.rename(label, name);
        this.speakers.rename(label, name);
      }
      this.element.close();
    } catch (error) {
      showNotice(this.notice, explain(error), "bad");
    }
  }
}
