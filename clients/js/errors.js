/** The SDK's error class, and the delays before a connection is tried again. */

/** Delays before each attempt to connect again; the last one repeats. */
export const RETRY_DELAYS_MS = [200, 400, 800, 1600, 3000];

/**
 * An error of the server or of the SDK. `code` is the server's error code, or one of the SDK's own. `outdated`: the
 * request was sent with an API key that has been replaced since.
 */
export class ParlandoError extends Error {
  outdated = false;

  constructor(code, message, status = 0) {
    super(message);
    this.name = "ParlandoError";
    this.code = code;
    this.status = status;
  }
}

/** A `ParlandoError` for an HTTP error response. */
export function responseError(status, text) {
  try {
    const problem = JSON.parse(text);
    return new ParlandoError(problem.code ?? "http", problem.detail ?? text, status);
  } catch {
    return new ParlandoError("http", `The gateway answered ${status}`, status);
  }
}

/** Resolves after `ms` milliseconds, or when `signal` aborts. */
export function delay(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
