/** The list of a task's steps, each with its state. */

import { make } from "./dom.js";
import { STEPS } from "./tasks.js";

/** Phase → the results that it makes. Other steps are of the last one. */
const RESULTS = {
  translation: ["translation"],
  ner: ["entities"],
  classification: ["language", "topics", "sentiment"],
  summarization: ["summary", "key_sentences", "keywords"],
  insights: ["insights", "questions", "actions"],
};
const FLAT = new Set(["translation_complete", "ner_complete"]); // with one result, which is the update's
const STATES = {
  waiting: "Waiting",
  left_out: "Not chosen",
  running: "Running",
  done: "Done",
  unavailable: "Unavailable",
  failed: "Failed",
  cancelled: "Cancelled",
};

const phaseOf = (step) => step.replace(/_complete$/, "");

export class StepList {
  constructor(root) {
    this.rows = STEPS.map(([step, name]) => {
      const state = make("span", { className: "step-state" });
      const reason = make("span", { className: "small", hidden: true });
      const element = make("li", { dataset: { step } }, make("span", { className: "grow" }, name), state, reason);
      return { step, element, state, reason };
    });
    root.replaceChildren(...this.rows.map(({ element }) => element));
    this.reset();
  }

  reset() {
    for (const row of this.rows) this.set(row, "waiting");
  }

  /** Mark the phases that have none of the task's steps. */
  choose(steps) {
    for (const row of this.rows) {
      const results = RESULTS[phaseOf(row.step)];
      if (results && !results.some((name) => steps.includes(name))) this.set(row, "left_out");
    }
  }

  update({ step, message, partial_result: result }) {
    const place = this.rows.findIndex((row) => row.step === step);
    if (place < 0) {
      this.end(step, message);
      return;
    }
    for (const row of this.rows.slice(0, place)) if (["waiting", "running"].includes(row.element.dataset.state)) this.set(row, "done");
    const row = this.rows[place];
    if (row.step === "completed" || row.step === "started") this.set(row, "done");
    else if (row.step === phaseOf(row.step)) this.set(row, "running");
    else this.complete(row, step, result ?? {});
  }

  /** A phase is complete: with all its results, or some, or none. */
  complete(row, step, result) {
    const results = FLAT.has(step) ? { [RESULTS[phaseOf(step)][0]]: result } : result;
    const all = Object.entries(results).filter(([, each]) => each?.status);
    const missing = all.filter(([, { status }]) => status !== "done");
    const state = !all.length || missing.length < all.length ? "done" : missing.some(([, { status }]) => status === "failed") ? "failed" : "unavailable";
    const several = all.length > 1;
    const reasons = missing.map(([name, { reason }]) => (several ? `No ${name.replaceAll("_", " ")}: ${reason}` : reason));
    this.set(row, state, reasons.join("; "));
  }

  /** The task has failed or was cancelled. */
  end(state, message) {
    const open = this.rows.filter(({ element }) => ["waiting", "running"].includes(element.dataset.state));
    const stopped = open.find(({ element }) => element.dataset.state === "running") ?? open[0];
    if (stopped) this.set(stopped, state, state === "failed" ? message : "");
  }

  set({ element, state, reason }, name, why = "") {
    if (element.dataset.state === name && reason.textContent === why) return;
    element.dataset.state = name;
    if (name === "running") element.setAttribute("aria-current", "step");
    else element.removeAttribute("aria-current");
    state.textContent = STATES[name] ?? name;
    reason.textContent = why;
    reason.hidden = !why;
  }
}
