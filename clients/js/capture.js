/** Audio capture in browsers: a microphone, a tab, a MediaStream or a media element. */

import { ParlandoError, delay } from "./errors.js";

const LAST_FRAME_WAIT_MS = 200;

/**
 * Audio from a microphone, a tab or a media element, as frames of 16 kHz mono PCM16. Dispatches `frame`
 * (an ArrayBuffer), `level` (the frame's peak, 0 to 1) and `ended` (the source has ended by itself).
 */
export class Capture extends EventTarget {
  /** The microphone. `deviceId` as in `navigator.mediaDevices.enumerateDevices()`. */
  static async microphone({ deviceId, frameMs } = {}) {
    const audio = {
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
      channelCount: 1,
      echoCancellation: false, // made for calls, as is noise suppression: both distort speech for recognition
      noiseSuppression: false,
      autoGainControl: true,
    };
    requireSecure(navigator.mediaDevices?.getUserMedia);
    return Capture.open(() => navigator.mediaDevices.getUserMedia({ audio }), { frameMs });
  }

  /** The audio of a tab or of the screen. The browser asks the user which one, and whether to share its audio. */
  static async tab({ frameMs } = {}) {
    requireSecure(navigator.mediaDevices?.getDisplayMedia);
    const audio = { suppressLocalAudioPlayback: false, echoCancellation: false, noiseSuppression: false };
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio });
    for (const track of stream.getVideoTracks()) track.enabled = false; // stopping it would end the sharing
    if (!stream.getAudioTracks().length) {
      for (const track of stream.getTracks()) track.stop();
      throw new ParlandoError("no_audio", "No audio was shared: choose a tab and tick the option to share its audio");
    }
    return Capture.stream(stream, { frameMs });
  }

  /** Any MediaStream. */
  static stream(stream, { frameMs } = {}) {
    return Capture.open(() => stream, { frameMs });
  }

  /** A playing `<audio>` or `<video>`, which stays audible. */
  static element(element, { frameMs } = {}) {
    return Capture.open(() => element, { frameMs });
  }

  /** Sets up the audio graph before it calls `obtain` for the source, so that the beginning of its audio isn't lost. */
  static async open(obtain, { frameMs = 40 }) {
    const capture = new Capture();
    const context = (capture.context = new AudioContext({ latencyHint: "interactive" }));
    try {
      await context.audioWorklet.addModule(new URL("./capture-worklet.js", import.meta.url));
      capture.node = new AudioWorkletNode(context, "parlando-capture", { processorOptions: { frameMs } });
      capture.node.connect(context.destination); // its own output is silence
      capture.connectSource(await obtain());
      await context.resume();
      capture.node.port.onmessage = ({ data }) => capture.onFrame(data); // until now frames wait in the port
    } catch (error) {
      await capture.release();
      throw error;
    }
    return capture;
  }

  connectSource(input) {
    const { context } = this;
    const ended = () => this.dispatchEvent(new Event("ended"));
    if (input instanceof MediaStream) {
      this.stream = input;
      this.source = context.createMediaStreamSource(input);
      input.getAudioTracks()[0].addEventListener("ended", ended);
    } else {
      this.source = context.createMediaElementSource(input);
      this.source.connect(context.destination);
      input.addEventListener("ended", ended);
    }
    this.source.connect(this.node);
  }

  onFrame({ pcm, peak, stopped }) {
    if (stopped) this.onStopped?.();
    else {
      this.dispatchEvent(new CustomEvent("level", { detail: peak }));
      this.dispatchEvent(new CustomEvent("frame", { detail: pcm }));
    }
  }

  /** Send every frame to a session, until `stop`. */
  feed(session) {
    this.addEventListener("frame", ({ detail }) => session.send(detail));
    return this;
  }

  pause() {
    return this.context.suspend();
  }

  resume() {
    return this.context.resume();
  }

  /** Release the source. The last, shorter frame is dispatched before the promise resolves. */
  async stop() {
    if (this.context.state === "running") {
      const last = new Promise((resolve) => (this.onStopped = resolve));
      this.node.port.postMessage("stop");
      await Promise.race([last, delay(LAST_FRAME_WAIT_MS)]);
    }
    await this.release();
  }

  async release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await this.context.close();
  }
}

function requireSecure(available) {
  if (!available) {
    throw new ParlandoError("insecure", "Browsers allow the microphone only on pages served over HTTPS or localhost");
  }
}
