/** An error of the server or of the SDK. */
export declare class ParlandoError extends Error {
  /** The server's code (`not_allowed`, `at_capacity` …), or `unreachable`, `insecure`, `no_audio`, `aborted`. */
  code: string;
  /** HTTP status, or 0. */
  status: number;
  /** The request was sent with an `apiKey` that has been replaced since. */
  outdated: boolean;
}

export interface Word {
  word: string;
  start: number;
  end: number;
  confidence?: number;
  speaker?: string;
}

export interface Segment {
  start: number;
  end: number;
  text: string;
  confidence?: number;
  language?: string;
  /** The label of the speaker, such as SPEAKER_00. */
  speaker?: string;
  /** The name that the speaker was given, in transcripts and results; or that of a known speaker. */
  speaker_name?: string;
  /** How alike the voices are if a known speaker was recognised, up to 1. */
  speaker_score?: number;
  /** Language code → text. */
  translations?: Record<string, string>;
  words?: Word[];
  /** In transcripts: what was recognised, if the text was corrected. */
  original?: string;
}

/** `text`: null if the correction was taken away. */
export interface Correction {
  segment: number;
  text: string | null;
  original: string;
}

export interface Connected {
  type: "connected";
  session_id: string;
  resume_token: string;
  engine: string;
  model: string;
  sample_rate: number;
  received: number;
  seq: number;
  /** Of the numbering of events: when the session was opened, in unix milliseconds. */
  epoch: number;
  resumed?: boolean;
  /** The cluster had lost the session and has opened it again; unsettled audio is sent again. */
  reopened?: boolean;
  state?: "open" | "ending" | "closed";
}
export interface SpeechStarted {
  type: "speech_started";
  session_id: string;
  segment: number;
  start: number;
}
/** What a follower says of the session; sent if the option `annotations` asks for it. */
export interface Annotation {
  type: "annotation";
  session_id: string;
  number: number;
  epoch: number;
  kind: string;
  by: string;
  data: Record<string, any>;
  timestamp: string;
}
/** The hypothesis of the open segment. `text` begins with `stable`, which doesn't change any more. */
export interface Partial {
  type: "partial";
  session_id: string;
  segment: number;
  text: string;
  stable: string;
  new_text?: string;
  start: number;
  end: number;
  confidence?: number;
  /** The spoken language. */
  language?: string;
  speaker?: string;
  speaker_name?: string;
  /** The speaker has paused; `text` is the final's, unless speech continues. */
  paused?: true;
  lag_ms?: number;
}
export interface Final extends Segment {
  type: "final";
  session_id: string;
  seq: number;
  segment: number;
  new_text?: string;
  reason?: "no_speech" | "suppressed" | "too_short" | "engine_failed";
  /** The segment was cut because of its length; the speaker has not paused. */
  continues?: true;
}
/** The session's language is known from here on (`locked`), or is detected again in each segment. */
export interface LanguageFound {
  type: "language";
  session_id: string;
  seq: number;
  language: string;
  probability: number;
  locked: boolean;
}
/** The speakers of earlier segments as they are known now, of sessions with `diarize`. */
export interface SpeakersRevised {
  type: "speakers_revised";
  session_id: string;
  seq: number;
  segments: { segment: number; speaker?: string; speaker_name?: string; speaker_score?: number }[];
}
export interface Status {
  type: "status";
  status:
    | "throttled"
    | "flowing"
    | "lost"
    | "silence_added"
    | "gap_ignored"
    | "restarted"
    | "speakers_coarse"
    | "speakers_complete";
  ms: number;
  reason: string;
}
export interface Closed {
  type: "closed";
  session_id: string;
  seq: number;
  duration: number;
  segments: number;
  reason: string;
}
export interface Refusal {
  type: "error";
  code: string;
  message: string;
  retryable: boolean;
  /** Seconds to wait before the next attempt, if the server sends them. */
  retry_after?: number;
}

export type SessionState = "connecting" | "open" | "reconnecting" | "closed";

export interface SessionEvents {
  connected: Connected;
  ack: { type: "ack"; received: number; received_ms?: number; settled?: number; settled_ms?: number };
  speech_started: SpeechStarted;
  partial: Partial;
  final: Final;
  language: LanguageFound;
  speakers_revised: SpeakersRevised;
  annotation: Annotation;
  status: Status;
  /** Dispatched once: not all unsettled audio fits the limits, so some would be lost if Redis lost its data. */
  unprotected: { type: "unprotected"; kept: number };
  flushed: { type: "flushed"; seq: number };
  closed: Closed;
  error: Refusal;
  state: SessionState;
  failed: ParlandoError;
}

export interface LiveOptions {
  /** ISO 639-1; several, separated by commas, to detect it among these; none or "auto" for any. */
  language?: string;
  title?: string;
  /** The name of the only speaker, in each partial and final. */
  speaker?: string;
  /** "translate": partials and finals in English. */
  task?: "transcribe" | "translate";
  /** "en": finals have an English translation beside their text. */
  translations?: "" | "en";
  prompt?: string;
  /** Names and terms that may be spoken, separated by commas. */
  hotwords?: string;
  words?: boolean;
  /** Finals have the label of their speaker. */
  diarize?: boolean;
  /** How many people speak, 1 to 32, if it is known. */
  speaker_count?: number;
  min_speakers?: number;
  max_speakers?: number;
  /** Known speakers to recognise: their names, separated by commas, or true for all. */
  known_speakers?: string | boolean;
  interim?: boolean;
  vad_silence_ms?: number;
  session_id?: string;
  uid?: string;
  encoding?: "pcm_s16le" | "pcm_f32le" | "mulaw" | "alaw" | "container";
  sample_rate?: number;
  channels?: number;
  channel?: number;
  normalize?: boolean;
  /** Names of stages that add to each segment, separated by commas. */
  stages?: string;
  /** Annotations too. */
  annotations?: boolean;
  /** Recognise songs, which are named in annotations of kind "song" (`RecognisedSong`). */
  songs?: boolean;
  /** Steps that are done for each segment, separated by commas; their results are annotations (`annotations: true`). */
  analyze?: string;
  /** Limits of the unsettled audio that is kept, in seconds (600) and megabytes (64). */
  keepS?: number;
  keepMb?: number;
  /** Resume a session by its `ticket`; `lastSeq: 0` for all its events from the beginning. */
  resume?: Ticket;
}

export interface Ticket {
  id: string;
  resumeToken: string;
  lastSeq: number;
  segments?: number;
  settledMs?: number;
}

export interface Following {
  signal?: AbortSignal;
  /** Called when the connection opens (true) or is lost (false). It reconnects automatically. */
  onconnection?: (connected: boolean, error?: unknown) => void;
}

export interface Viewer {
  viewer_id: string;
  label: string;
  created_at: string;
}

export interface Transcript {
  session_id: string;
  title?: string;
  state: string;
  duration: number;
  language?: string;
  text: string;
  segments: (Segment & { segment: number; reason?: string })[];
}

/** The formats of transcripts that are text; `docx` is a document. */
export type TextFormat = "text" | "srt" | "vtt" | "ass" | "karaoke" | "tsv" | "csv";

export interface WriteOptions {
  format?: TextFormat | "json" | "docx";
  /** Whether speakers are named; true by default. JSON always has them. */
  speakers?: boolean;
  /** Characters in a line of a subtitle, 10 to 200; 42 by default. */
  maxLineChars?: number;
  /** Lines of a subtitle, 1 to 4; 2 by default. */
  maxLines?: number;
  /** Seconds that a subtitle is shown, 1 to 30; 7 by default. */
  maxCueSeconds?: number;
  signal?: AbortSignal;
}

export type Scope = "live" | "jobs" | "read" | "omi" | "songs" | "admin";

/** Limits of a key or an owner; 0 for no limit. */
export interface Limits {
  sessions?: number;
  requests_minute?: number;
  audio_seconds_day?: number;
  audio_seconds_month?: number;
  upload_mb?: number;
  jobs_waiting?: number;
}

export interface OwnerLimits {
  owner: string;
  /** Those that are set for the owner. */
  limits: Limits;
  /** Those that apply. */
  effective: Required<Limits>;
}

export interface ApiKey {
  id: string;
  name: string;
  owner: string;
  scopes: Scope[];
  doors: string[];
  limits: Limits;
  status: "active" | "expired" | "revoked";
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
  rotated_at: string | null;
  revoked_at: string | null;
}

export interface AccessToken {
  token: string;
  expires_at: string;
  expires_in: number;
  scopes: Scope[];
  sessions: number | null;
}

export declare class Keys {
  create(
    name: string,
    options: { scopes: Scope[]; owner?: string; doors?: string[]; expiresAt?: string; limits?: Limits },
  ): Promise<ApiKey & { key: string }>;
  list(): Promise<ApiKey[]>;
  rotate(id: string, options?: { graceSeconds?: number }): Promise<ApiKey & { key: string }>;
  revoke(id: string): Promise<ApiKey>;
  limit(id: string, limits: Limits): Promise<ApiKey>;
  ownerLimits(owner: string): Promise<OwnerLimits>;
  limitOwner(owner: string, limits: Limits | null): Promise<OwnerLimits>;
  token(options?: { scopes?: Scope[]; seconds?: number; sessions?: number }): Promise<AccessToken>;
}

export interface UsageAmounts {
  /** Seconds of audio: of live sessions, of jobs, of the Omi webhook, and of a month that was counted without days. */
  live_audio_s: number;
  job_audio_s: number;
  omi_audio_s: number;
  earlier_audio_s: number;
  audio_s: number;
  sessions: number;
  jobs: number;
  files: number;
  llm_requests: number;
  llm_input_tokens: number;
  llm_output_tokens: number;
  audio_cost_usd: number;
  llm_cost_usd: number;
  cost_usd: number;
}

export interface UsageDay extends UsageAmounts {
  day: string;
  owner: string;
  owner_name: string | null;
}

export interface UsageReport {
  from: string;
  to: string;
  owner: string;
  price_per_hour_usd: number;
  total: UsageAmounts;
  days: UsageDay[];
  /** Limits of the caller's key and of the owner, with what is used of them now; none if the owner is `*`. */
  limits?: Record<"key" | "owner", Record<string, LimitUse>>;
}

/** `resets_at`: null if the limit isn't of a time. `upload_mb` has `limit` only. */
export interface LimitUse {
  limit: number;
  used?: number;
  remaining?: number;
  resets_at?: string | null;
}

export declare class Usage {
  get(options?: { from?: string; to?: string; owner?: string; signal?: AbortSignal }): Promise<UsageReport>;
  csv(options?: { from?: string; to?: string; owner?: string; signal?: AbortSignal }): Promise<string>;
}

export interface Owner {
  owner: string;
  name: string;
  configured: boolean;
  counts: Record<string, number>;
}

export interface Days {
  transcript_days: number | null;
  audio_days: number | null;
}

export interface OwnerRetention extends Days {
  owner: string;
  set_by_admin: Days;
  set_by_owner: Days;
  default: Days;
}

export interface AuditEntry {
  id: string;
  at: string;
  owner: string;
  key: string;
  key_name: string;
  token: boolean;
  action: string;
  object: string;
  address: string;
  outcome: "ok" | "refused" | "not_found" | "failed";
  status: number;
  request_id: string;
}

export declare class Owners {
  list(): Promise<Owner[]>;
  get(owner?: string): Promise<Owner>;
  export(owner?: string, options?: { signal?: AbortSignal }): Promise<Response>;
  delete(owner: string): Promise<{
    owner: string;
    complete: boolean;
    deleted: Record<string, number>;
    remaining: Record<string, number>;
  }>;
  retention(owner?: string): Promise<OwnerRetention>;
  setRetention(
    owner?: string,
    days?: { transcriptDays?: number; audioDays?: number },
  ): Promise<OwnerRetention>;
  audit(options?: {
    since?: string;
    action?: string;
    owner?: string;
    limit?: number;
    cursor?: string;
  }): Promise<{ entries: AuditEntry[]; next: string; more: boolean }>;
}

export declare class ParlandoClient {
  constructor(url?: string, options?: { apiKey?: string; token?: string | (() => string | Promise<string>) });
  readonly url: string;
  readonly keys: Keys;
  readonly owners: Owners;
  readonly jobs: Jobs;
  readonly songs: Songs;
  readonly speakers: KnownSpeakers;
  readonly analysis: Analysis;
  readonly usage: Usage;
  live(options?: LiveOptions): LiveSession;
  transcript(sessionId: string, options?: { format?: "json"; token?: string }): Promise<Transcript>;
  transcript(sessionId: string, options: { format: TextFormat; token?: string }): Promise<string>;
  write(
    transcript: { title?: string; language?: string | null; segments: Pick<Segment, "start" | "end" | "text">[] },
    options?: WriteOptions,
  ): Promise<Blob>;
  watch(
    sessionId: string,
    options?: Following & { token?: string; annotations?: boolean },
  ): AsyncGenerator<
    SpeechStarted | Partial | Final | SpeakersRevised | Annotation | Status | Closed | { type: "revoked" }
  >;
  share(sessionId: string, options?: { label?: string }): Promise<Viewer & { token: string; url: string }>;
  viewers(sessionId: string): Promise<Viewer[]>;
  revoke(sessionId: string, viewerId: string): Promise<void>;
  speakerNames(sessionId: string, options?: { token?: string }): Promise<Record<string, string>>;
  nameSpeaker(sessionId: string, speaker: string, name: string | null): Promise<Record<string, string>>;
  correct(sessionId: string, segment: number, text: string | null): Promise<Correction>;
  corrections(sessionId: string, options?: { token?: string }): Promise<Correction[]>;
  cluster(): Promise<Record<string, any>>;
  watchCluster(options?: Following): AsyncGenerator<Record<string, any>>;
}

export declare class LiveSession extends EventTarget {
  readonly id: string;
  readonly resumeToken: string;
  readonly state: SessionState;
  /** How often the session was resumed after a lost connection. */
  readonly resumes: number;
  readonly throttled: boolean;
  readonly unackedMs: number;
  readonly ticket: Ticket;
  on<Type extends keyof SessionEvents>(type: Type, listener: (event: SessionEvents[Type]) => void): () => void;
  send(pcm: ArrayBuffer | ArrayBufferView): void;
  flush(): void;
  configure(
    changes: Pick<
      LiveOptions,
      "language" | "title" | "speaker" | "task" | "translations" | "prompt" | "hotwords" | "words" | "interim" | "vad_silence_ms"
    >,
  ): void;
  end(): Promise<Closed>;
  closed(): Promise<Closed>;
  leave(): void;
  pending(): Uint8Array[];
}

export interface JobOptions {
  language?: string;
  prompt?: string;
  hotwords?: string;
  words?: boolean;
  task?: "transcribe" | "translate" | "detect_language";
  translations?: "" | "en";
  channels?: "mix" | "split";
  /** Segments have the label of their speaker. */
  diarize?: boolean;
  /** How many people speak, 1 to 32, if it is known. */
  speaker_count?: number;
  min_speakers?: number;
  max_speakers?: number;
  /** Known speakers to recognise: their names, separated by commas, or true for all. */
  known_speakers?: string | boolean;
  /** Audio track of a file with several, from 1; without it the one in `language`, else the default track. */
  track?: number;
  /** Steps of an analysis, separated by commas, whose results are annotations. */
  analyze?: string;
  /** ISO 639 code of the language into which the step `translation` translates. */
  target_language?: string;
  callback_url?: string;
  priority?: "low" | "normal" | "high";
}

export interface Job {
  job_id: string;
  status: "uploaded" | "processing_audio" | "audio_ready" | "transcribing" | "completed" | "failed" | "cancelled";
  progress: number;
  audio_seconds: number | null;
  eta_s: number | null;
  filename: string | null;
  error: { code: string; message: string } | null;
  created_at: string;
  result?: { text: string; language: string | null; duration: number; segments: Segment[] };
}

export interface JobEvent {
  type: "progress" | "segments" | "speakers" | "completed" | "failed" | "cancelled";
  job_id: string;
  status: Job["status"];
  progress: number;
  segments?: Segment[];
  /** For each segment so far, the runs of its words with one speaker. */
  speakers?: { words: number; speaker?: string; recognised?: { name: string; score: number } }[][];
  error?: { code: string; message: string };
}

export declare class Jobs {
  submit(
    file: Blob,
    options?: JobOptions & {
      name?: string;
      onprogress?: (share: number) => void;
      signal?: AbortSignal;
      /** Bytes from which on a file is uploaded resumably; 32 MB by default. */
      resumableFrom?: number;
    },
  ): Promise<Job>;
  detectLanguage(
    file: Blob,
    options?: { language?: string; name?: string; signal?: AbortSignal },
  ): Promise<{ detected_language: string; language_code: string; confidence: number }>;
  events(jobId: string, options?: Following): AsyncGenerator<JobEvent>;
  wait(jobId: string, options?: { onprogress?: (share: number) => void; signal?: AbortSignal }): Promise<Job & Required<Pick<Job, "result">>>;
  get(jobId: string): Promise<Job>;
  list(options?: { limit?: number; before?: string }): Promise<{ jobs: Job[]; next: string | null }>;
  cancel(jobId: string): Promise<{ job_id: string; status: string }>;
  speakerNames(jobId: string): Promise<Record<string, string>>;
  nameSpeaker(jobId: string, speaker: string, name: string | null): Promise<Record<string, string>>;
  result(jobId: string, format?: "json"): Promise<NonNullable<Job["result"]>>;
  result(jobId: string, format: TextFormat): Promise<string>;
  result(jobId: string, format: "docx"): Promise<Blob>;
}

export interface Song {
  id: number;
  artist: string;
  album: string;
  title: string;
  /** Seconds. */
  duration: number;
  hashes: number;
  filename: string;
  registered_at: string | null;
}

/** A song in audio: it was found at second `start`, `offset` seconds after its beginning. */
export interface RecognisedSong {
  song_id: number;
  artist: string;
  album: string;
  title: string;
  offset: number;
  start: number;
  /** Landmarks of the audio that agree, and by how much more than for the second-best song. */
  matches: number;
  ratio: number;
  duration: number;
}

export interface KnownSpeaker {
  name: string;
  clips: number;
  /** Of speech in all clips. */
  seconds: number;
  created_at: string;
}

/** People whose voices are recognised by name, in sessions and jobs with `known_speakers`. */
export declare class KnownSpeakers {
  enrol(
    speaker: string,
    clip: Blob,
    options?: { name?: string; onprogress?: (share: number) => void; signal?: AbortSignal },
  ): Promise<KnownSpeaker>;
  list(): Promise<KnownSpeaker[]>;
  remove(speaker: string): Promise<{ name: string; status: string }>;
}

export declare class Songs {
  register(
    file: Blob,
    options?: {
      name?: string;
      artist?: string;
      album?: string;
      title?: string;
      onprogress?: (share: number) => void;
      signal?: AbortSignal;
    },
  ): Promise<Song>;
  recognise(
    file: Blob,
    options?: { name?: string; onprogress?: (share: number) => void; signal?: AbortSignal },
  ): Promise<RecognisedSong | null>;
  list(options?: { after?: number; limit?: number }): Promise<{ songs: Song[]; total: number; next: number | null }>;
  remove(id: number): Promise<{ id: number; status: string }>;
}

/** One update of a task. */
export interface TaskUpdate {
  type: "update";
  /** Counts the kept updates from 1; null for a partial result. */
  seq: number | null;
  task_id: string;
  /** started, transcription, transcription_complete … completed; or failed, cancelled. */
  step: string;
  /** Percent. */
  progress: number;
  message: string;
  /** What there is so far, or the results of a phase; with `completed` an `AnalysisResult`. */
  partial_result?: Record<string, any> | null;
  timestamp: string;
}

/** `reason`: of a step that has no result. The other fields are those of the step (docs/analysis.md). */
export interface StepResult extends Record<string, any> {
  status: "done" | "unavailable" | "failed";
  reason?: string;
}

export interface AnalysisResult {
  transcript: string;
  language: string | null;
  duration: number;
  segments: { segment: number; start: number; end: number; text: string; speaker?: string; language?: string }[];
  translation?: string;
  /** By the name of the step: entities, topics, sentiment … */
  results: Record<string, StepResult>;
  usage: Record<string, any> | null;
}

export interface AnalysisTask {
  task_id: string;
  status: "queued" | "running" | "completed" | "failed" | "cancelled";
  step: string | null;
  progress: number;
  message: string;
  result: AnalysisResult | null;
  steps: string[];
  target_language: string;
  filename: string | null;
  created_at: string;
  updated_at: string;
  /** How many updates are kept. */
  updates: number;
  events_url: string;
  job_url: string;
}

export interface Digest extends Record<string, any> {
  session_id: string;
  segments: number;
  /** Of the last final that is in it. */
  seq: number;
  seconds: number;
  language: string | null;
  timestamp: string;
}

export declare class Analysis {
  analyze(
    file: Blob,
    options?: Following & {
      name?: string;
      language?: string;
      translateTo?: string;
      insights?: boolean;
      cancelOnDisconnect?: boolean;
      ontask?: (taskId: string) => void;
    },
  ): AsyncGenerator<TaskUpdate>;
  updates(taskId: string, options?: Following & { after?: number }): AsyncGenerator<TaskUpdate>;
  task(taskId: string): Promise<AnalysisTask>;
  cancel(taskId: string): Promise<{ task_id: string; status: string }>;
  digest(sessionId: string): Promise<Digest>;
}

/** Frames of 16 kHz mono PCM16: events `frame` (detail: ArrayBuffer), `level` (detail: 0 to 1), `ended`. */
export declare class Capture extends EventTarget {
  static microphone(options?: { deviceId?: string; frameMs?: number }): Promise<Capture>;
  static tab(options?: { frameMs?: number }): Promise<Capture>;
  static stream(stream: MediaStream, options?: { frameMs?: number }): Promise<Capture>;
  static element(element: HTMLMediaElement, options?: { frameMs?: number }): Promise<Capture>;
  feed(session: LiveSession): this;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
}
