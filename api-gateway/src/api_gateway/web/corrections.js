/** Corrections of a transcript: what a reader wrote in place of what was recognised, which is kept. */

/** Dispatches `changed` with the segment in `detail` after a change. */
export class Corrections extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  clear() {
    this.texts = new Map(); // segment → the text that replaces its own
  }

  /** The text of a segment is now this one; null: again the recognised one. */
  correct(segment, text) {
    if ((this.texts.get(segment) ?? null) === text) return;
    if (text === null) this.texts.delete(segment);
    else this.texts.set(segment, text);
    this.dispatchEvent(new CustomEvent("changed", { detail: segment }));
  }

  /** Replace all corrections; `found`: [{segment, text}]. */
  setTexts(found) {
    const texts = new Map(found.map(({ segment, text }) => [segment, text]));
    for (const segment of this.texts.keys()) if (!texts.has(segment)) this.correct(segment, null);
    for (const [segment, text] of texts) this.correct(segment, text);
  }

  /** Take in an annotation; `base`: the number of segments before its session. */
  annotated({ kind, data }, base = 0) {
    if (kind === "correction") this.correct(data.segment + base, data.text);
  }

  textOf(segment) {
    return this.texts.get(segment);
  }

  /** Finals with their corrections; `original` is what was recognised. */
  applied(finals) {
    return finals.map((final) => {
      const text = this.texts.get(final.segment);
      return text === undefined ? final : { ...final, text, original: final.text };
    });
  }
}
