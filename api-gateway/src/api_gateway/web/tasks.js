/** The steps of a task, and uploads of files with progress; the rest is in `client.analysis`. */

import { responseError } from "./errors.js";
import { ParlandoError } from "./parlando.js";

/** The 14 steps in their order; those of a phase that isn't chosen are left out. */
export const STEPS = [
  ["started", "Start"],
  ["transcription", "Transcribe the audio"],
  ["transcription_complete", "Transcript"],
  ["translation", "Translate the text"],
  ["translation_complete", "Translation"],
  ["ner", "Find named entities"],
  ["ner_complete", "Entities"],
  ["classification", "Classify the content"],
  ["classification_complete", "Language, topics and sentiment"],
  ["summarization", "Summarise"],
  ["summarization_complete", "Summary, key sentences and keywords"],
  ["insights", "Look for insights"],
  ["insights_complete", "Insights, questions and action items"],
  ["completed", "Finish"],
];
const ENDS = new Set(["completed", "failed", "cancelled"]);

/** Whether an update is a task's last one. */
export const ends = ({ step }) => ENDS.has(step);

/**
 * Upload a file. Resolves with the new task's id as soon as the task exists; its updates are read with `client.analysis.updates`.
 * `onprogress` receives the uploaded share, from 0 to 1.
 */
export function submit(client, file, fields, { onprogress = () => {}, signal } = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  form.append("audio", file, file.name || "audio");
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch doesn't report the progress of an upload
    request.open("POST", client.address("/audio/process-stream-realtime"));
    if (client.apiKey) request.setRequestHeader("authorization", `Bearer ${client.apiKey}`);
    request.upload.onprogress = ({ loaded, total }) => onprogress(total ? loaded / total : 0);
    request.onreadystatechange = () => {
      if (request.readyState !== XMLHttpRequest.HEADERS_RECEIVED || request.status !== 200) return;
      resolve(request.getResponseHeader("x-task-id"));
      request.abort(); // the task goes on
    };
    request.onload = () => reject(responseError(request.status, request.responseText));
    request.onerror = () => reject(new ParlandoError("unreachable", "The connection was lost during the upload"));
    request.onabort = () => reject(new ParlandoError("aborted", "The upload was cancelled"));
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}
