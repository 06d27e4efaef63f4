/** The speakers of a transcript: who says which segment, their names, colours and shares, and who is shown. */

const COLOURS = 8;
const NUMBERED = /^SPEAKER_(\d+)(.*)$/;

/** Dispatches `said` after a new segment, and `changed` after a change of earlier ones: speakers, names, the filter. */
export class Speakers extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  clear() {
    this.names = new Map(); // label → name that the speaker was given
    this.recognised = new Map(); // label → {name, score} of a known speaker
    this.segments = new Map(); // number → {speaker, seconds}
    this.labels = new Set(); // in the order of their first segments
    this.hidden = new Set(); // labels that the filter leaves out
    this.dispatchEvent(new Event("changed"));
  }

  /** Note who says a segment. */
  say({ segment, speaker, start, end, text, ...more }) {
    if (!text) return;
    this.segments.set(segment, { speaker, seconds: Math.max(0, end - start) });
    if (!speaker) return;
    this.labels.add(speaker);
    this.recognise(speaker, more);
    this.dispatchEvent(new Event("said"));
  }

  /** Change the speakers of earlier segments. */
  revise(segments) {
    for (const { segment, speaker, ...more } of segments) {
      if (speaker) this.recognise(speaker, more);
      const known = this.segments.get(segment);
      if (known) known.speaker = speaker;
      if (known && speaker) this.labels.add(speaker);
    }
    this.dispatchEvent(new Event("changed"));
  }

  /** Note which known speaker has a label, or that none has. Only names of known speakers have a score. */
  recognise(label, { speaker_name: name, speaker_score: score }) {
    if (score !== undefined) this.recognised.set(label, { name, score });
    else if (!name) this.recognised.delete(label);
  }

  /** The name that a label was given, or that of the known speaker; undefined if it has none. */
  givenTo(label) {
    return this.names.get(label) ?? this.recognised.get(label)?.name;
  }

  /** Give the speaker with a label a name; null takes it away. */
  rename(speaker, name) {
    if (name) this.names.set(speaker, name);
    else this.names.delete(speaker);
    this.dispatchEvent(new Event("changed"));
  }

  /** Replace all names; `names`: label → name. */
  setNames(names) {
    this.names = new Map(Object.entries(names));
    this.dispatchEvent(new Event("changed"));
  }

  annotated({ kind, data }) {
    if (kind === "speaker_name") this.rename(data.speaker, data.name);
  }

  labelOf(segment) {
    return this.segments.get(segment)?.speaker;
  }

  /** What is shown for a label: the name, or "Speaker 1" for SPEAKER_00. */
  nameOf(label) {
    const [, number, rest] = NUMBERED.exec(label) ?? [];
    return this.givenTo(label) ?? (number ? `Speaker ${Number(number) + 1}${rest}` : label);
  }

  /** Labels with the same name are one person. */
  personOf(label) {
    return this.givenTo(label) ?? label;
  }

  /** The number of a person's colour, the same on all pages: it depends on the label. */
  colourOf(label) {
    const person = this.personOf(label);
    const first = [...this.labels].filter((each) => this.personOf(each) === person).sort()[0] ?? label;
    const number = NUMBERED.exec(first)?.[1] ?? [...this.labels].indexOf(first);
    return Math.max(0, Number(number)) % COLOURS;
  }

  isHidden(label) {
    return this.hidden.has(label);
  }

  /** Show or hide all segments of these labels. */
  show(labels, shown) {
    for (const label of labels) {
      if (shown) this.hidden.delete(label);
      else this.hidden.add(label);
    }
    this.dispatchEvent(new Event("changed"));
  }

  /** The people so far: {labels, name, score (of a known speaker), colour, seconds, share, turns, shown}. A turn is what one says in a row. */
  people() {
    const found = new Map();
    let before;
    for (const { speaker, seconds } of this.segments.values()) {
      if (!speaker) continue;
      const person = this.personOf(speaker);
      const entry = found.get(person) ?? { labels: new Set(), seconds: 0, turns: 0 };
      found.set(person, entry);
      entry.labels.add(speaker);
      entry.seconds += seconds;
      if (person !== before) entry.turns++;
      before = person;
    }
    const total = [...found.values()].reduce((sum, { seconds }) => sum + seconds, 0);
    return [...found.values()]
      .map(({ labels, seconds, turns }) => this.described([...labels].sort(), { seconds, turns, total }))
      .sort((a, b) => (a.labels[0] < b.labels[0] ? -1 : 1));
  }

  described(labels, { seconds, turns, total }) {
    const [first] = labels;
    const share = total ? seconds / total : 0;
    const score = this.names.has(first) ? undefined : this.recognised.get(first)?.score;
    const shown = !this.isHidden(first);
    return { labels, name: this.nameOf(first), score, colour: this.colourOf(first), seconds, share, turns, shown };
  }
}
