/** Where the sound of the Live view comes from: a microphone, a tab, or a file that is played. */

import { $ } from "./dom.js";
import { Capture } from "./parlando.js";

const UNPLAYABLE = "This browser can't play that file. Use the page Files: it takes all formats.";

export class LiveSource {
  /** `failed(error)`: the file can't be played. */
  constructor(failed) {
    this.failed = failed;
    this.opening = false; // the browser may be asking the user
    $("live-source").addEventListener("change", () => this.draw());
    this.draw();
  }

  get kind() {
    return $("live-source").value;
  }

  /** Open the source. Rejects with an error whose text says what to do. */
  async open() {
    this.opening = true;
    try {
      if (this.kind === "microphone") return await Capture.microphone({ deviceId: $("live-device").value });
      if (this.kind === "tab") return await Capture.tab();
      return await this.openFile();
    } finally {
      this.opening = false;
    }
  }

  async openFile() {
    const [file] = $("live-file").files;
    if (!file) throw new Error("Choose a file first.");
    const player = (this.player = $("live-player").cloneNode()); // an element can be captured only once
    $("live-player").replaceWith(player);
    player.hidden = false;
    player.src = URL.createObjectURL(file);
    let capture;
    try {
      capture = await Capture.element(player);
      await player.play();
    } catch (error) {
      await capture?.stop();
      this.stop();
      throw error.name === "NotSupportedError" ? new Error(UNPLAYABLE) : error;
    }
    player.addEventListener("error", () => this.player === player && this.failed(new Error(UNPLAYABLE)));
    return capture;
  }

  /** Whether a file is played, which can't be continued after a pause. */
  get playing() {
    return Boolean(this.player);
  }

  pause() {
    this.player?.pause();
  }

  stop() {
    if (!this.player) return;
    this.player.pause();
    this.player.hidden = true;
    URL.revokeObjectURL(this.player.src);
    this.player = undefined;
  }

  draw() {
    $("live-device-label").hidden = this.kind !== "microphone";
    $("live-file-label").hidden = this.kind !== "file";
  }

  disable(disabled) {
    for (const id of ["live-source", "live-device", "live-file"]) $(id).disabled = disabled;
  }

  /** Browsers report the names of microphones only after the user has allowed one. */
  async listDevices() {
    const devices = await navigator.mediaDevices?.enumerateDevices();
    const microphones = (devices ?? []).filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "default");
    const chosen = $("live-device").value;
    const options = microphones.map(({ label, deviceId }) => new Option(label || "Microphone", deviceId));
    $("live-device").replaceChildren(new Option("Default", ""), ...options);
    $("live-device").value = chosen;
  }
}
