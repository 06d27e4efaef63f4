/** What a live session does besides the transcript, as chosen on the first screen. */

import { AnalyseChoice, TranslateChoice, offerLanguages } from "./choices.js";
import { $ } from "./dom.js";
import { LIVE_STEPS } from "./live-analysis.js";

export class LiveOptions {
  /** `speakers`: the choice whether to tell speakers apart. */
  constructor(speakers) {
    this.speakers = speakers;
    this.analyse = new AnalyseChoice("live-analyse");
    this.translate = new TranslateChoice("live-translate");
  }

  /** Offer what the cluster can do. */
  update(cluster) {
    offerLanguages($("live-language"), cluster.languages);
    this.analyse.update(cluster);
    this.translate.update(cluster);
  }

  /** Whether the sound is recorded in this tab. */
  get records() {
    return $("live-record").checked;
  }

  /** The options of a session. Corrections and names of speakers come as annotations. */
  get extras() {
    const songs = $("live-songs").checked;
    const { into } = this.translate;
    return {
      annotations: true,
      words: true,
      ...this.speakers.fields,
      ...(into ? { translations: into } : {}),
      ...(songs ? { songs } : {}),
      ...(this.analyse.chosen ? { analyze: LIVE_STEPS } : {}),
    };
  }

  /** Language and translation can be changed while a session runs, the others can't. */
  disable(disabled) {
    $("live-songs").disabled = $("live-record").disabled = disabled;
    this.speakers.disable(disabled);
    $("live-analyse").disabled = disabled || !this.analyse.available;
  }
}
