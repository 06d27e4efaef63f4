/** The speakers of the Live view, whose transcript may go on in a second session. */

import { SpeakersChoice } from "./choices.js";
import { $ } from "./dom.js";
import { Speakers } from "./speakers.js";
import { SpeakersPanel } from "./speakers-view.js";

export class LiveSpeakers {
  constructor(client) {
    this.client = client;
    this.choice = new SpeakersChoice("live");
    this.speakers = new Speakers();
    const panel = new SpeakersPanel(this.speakers, { rename: (label, name) => this.rename(label, name) });
    $("live-speakers").replaceChildren(panel.element);
    this.reset();
  }

  reset() {
    this.parts = []; // the sessions of this transcript
    this.origins = new Map(); // label in the transcript → {session, label}
    this.speakers.clear();
  }

  /** Follow a session. Labels of a later one get its number, because its speakers are numbered anew. */
  begin(session) {
    this.parts.push(session);
  }

  /** The label in the transcript for one of the current session. */
  labelled(label) {
    if (!label) return undefined;
    const part = this.parts.length;
    const own = part > 1 ? `${label} (part ${part})` : label;
    this.origins.set(own, { session: this.parts.at(-1), label });
    return own;
  }

  /** Events of the current session; `base`: the number of segments before it. */
  revised({ segments }, base) {
    const own = segments.map((each) => ({ ...each, segment: each.segment + base, speaker: this.labelled(each.speaker) }));
    this.speakers.revise(own);
  }

  named({ speaker, name }) {
    this.speakers.rename(this.labelled(speaker), name);
  }

  async rename(own, name) {
    const { session, label } = this.origins.get(own);
    await this.client.nameSpeaker(session.id, label, name);
  }

  /** Finals with their speakers as they are known now, for exports. */
  voiced(finals) {
    return finals.map((final) => {
      const speaker = this.speakers.labelOf(final.segment);
      return { ...final, speaker, speaker_name: this.speakers.givenTo(speaker), voice: speaker && this.speakers.nameOf(speaker) };
    });
  }
}
