/** Known speakers: enrol, list and delete voices that sessions and jobs recognise by name, over REST. */

const PATH = "/v1/speakers";

/** The known speakers of a key. */
export class KnownSpeakers {
  constructor(client) {
    this.client = client;
  }

  /**
   * Enrol a speaker by a clip of the voice alone, with at least 4 s of speech; a further clip is added. Resolves with
   * the speaker. Ask people before you enrol them.
   */
  enrol(speaker, clip, { name, signal, onprogress } = {}) {
    return this.client.upload(PATH, clip, { name, fields: { name: speaker }, signal, onprogress });
  }

  async list() {
    return (await (await this.client.request(PATH)).json()).speakers;
  }

  /** Delete a speaker and the voice. */
  async remove(speaker) {
    return (await this.client.request(`${PATH}/${encodeURIComponent(speaker)}`, { method: "DELETE" })).json();
  }
}
