/** Keeps the screen on while the page listens: a phone that sleeps stops its microphone. */

export class WakeLock {
  constructor() {
    document.addEventListener("visibilitychange", () => this.wanted && this.request());
  }

  hold() {
    this.wanted = true;
    return this.request();
  }

  /** Browsers release the lock by themselves while the page is hidden. */
  async request() {
    if (document.hidden || (this.lock && !this.lock.released)) return;
    try {
      this.lock = await navigator.wakeLock?.request("screen");
      if (!this.wanted) await this.release();
    } catch {
      this.lock = undefined; // the battery is low, or the browser doesn't allow it
    }
  }

  async release() {
    this.wanted = false;
    const { lock } = this;
    this.lock = undefined;
    await lock?.release();
  }
}
