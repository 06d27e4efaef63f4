/** Songs: register, list, remove, and recognise one in a recording, over REST. */

/** The songs of a cluster. */
export class Songs {
  constructor(client) {
    this.client = client;
  }

  /**
   * Register a file; resolves with the song. `artist`, `album`, `title`: names; by default those in the file's tags.
   * `onprogress` receives the uploaded share, from 0 to 1.
   */
  register(file, { name, artist, album, title, ...more } = {}) {
    return this.client.upload("/songs", file, { name, fields: { artist, album, title }, ...more });
  }

  /** Resolves with the song in a recording, or null if none is recognised. */
  async recognise(file, { name, signal, onprogress } = {}) {
    return (await this.client.upload("/songs/recognise", file, { name, signal, onprogress })).song;
  }

  /** One page of the registered songs: `songs`, `total`, and `next`, which is `after` of the next page or null. */
  async list({ after = 0, limit = 100 } = {}) {
    return (await this.client.request("/songs", { query: { after, limit } })).json();
  }

  async remove(id) {
    return (await this.client.request(`/songs/${id}`, { method: "DELETE" })).json();
  }
}
