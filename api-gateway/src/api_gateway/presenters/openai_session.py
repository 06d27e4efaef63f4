"""The configuration of a transcription session of OpenAI's Realtime API, in its GA and beta shapes. Pure.

Source: OpenAI's OpenAPI document (`RealtimeTranscriptionSession…`) and the types of its Python library.
Fields that a client sends are merged into the configuration: absent ones keep their value, null resets them.
Unknown ones are ignored. `threshold`, `noise_reduction` and `delay` are kept and reported, but have no effect
(docs/dialects/openai-realtime.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api_gateway.presenters.openai import ParamError
from parlando.domain import languages
from parlando.domain.audio import Encoding
from parlando.domain.formats import HIGHEST_RATE, LOWEST_RATE, AudioFormat

LOGPROBS: Final = "item.input_audio_transcription.logprobs"
OBJECT: Final = "realtime.transcription_session"
PCM_RATE: Final = 24_000  # Hz; the only one of OpenAI's service
PHONE_RATE: Final = 8_000  # Hz, of both kinds of G.711
SHORTEST_SILENCE_MS: Final = 100  # what a session's config allows
LONGEST_SILENCE_MS: Final = 5000

_SERVER_VAD: Final[Mapping[str, Any]] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}
_SEMANTIC_VAD: Final[Mapping[str, Any]] = {"type": "semantic_vad", "eagerness": "auto"}
_DEFAULTS: Final = {"server_vad": _SERVER_VAD, "semantic_vad": _SEMANTIC_VAD}
_EAGERNESS_MS: Final = {"low": 1600, "medium": 800, "auto": 800, "high": 400}
"""Silence that ends a segment, by the eagerness of semantic turn detection, whose place it takes."""

_ENCODINGS: Final = {
    "audio/pcm": Encoding.PCM_S16LE,
    "audio/pcmu": Encoding.MULAW,
    "audio/pcma": Encoding.ALAW,
}
_BETA_FORMATS: Final = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}


# --- what a client sends ----------------------------------------------------------------------------


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore")

    def given(self) -> dict[str, Any]:
        """The fields that the client has sent."""
        return self.model_dump(exclude_unset=True)


class _Format(_Fields):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | None = Field(None, ge=LOWEST_RATE, le=HIGHEST_RATE)


class _Transcription(_Fields):
    model: str | None = Field(None, max_length=200)
    language: str | None = None
    languages: list[str] | None = Field(None, max_length=50)
    prompt: str | None = Field(None, max_length=2000)
    keywords: list[str] | None = Field(None, max_length=500)
    delay: str | None = Field(None, max_length=20)

    @field_validator("language")
    @classmethod
    def _language(cls, name: str | None) -> str | None:
        return _code_of(name) if name and name.lower() != "auto" else ""

    @field_validator("languages")
    @classmethod
    def _languages(cls, names: list[str] | None) -> list[str] | None:
        return names and [_code_of(name) for name in names]

    @field_validator("keywords")
    @classmethod
    def _keywords(cls, keywords: list[str] | None) -> list[str] | None:
        if keywords and len(_hotwords(keywords)) > 1000:
            raise ValueError("expected keywords of at most 1000 characters together")
        return keywords


def _code_of(name: str) -> str:
    code = languages.code_of(name)
    if code is None:
        raise ValueError("expected an ISO 639 language")
    return code


def _hotwords(keywords: list[str]) -> str:
    return ", ".join(keyword.replace(",", " ").strip() for keyword in keywords)


class _TurnDetection(_Fields):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=10_000)
    silence_duration_ms: int | None = Field(None, ge=0, le=60_000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None


class _NoiseReduction(_Fields):
    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class _Input(_Fields):
    format: _Format | None = None
    transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None = None
    noise_reduction: _NoiseReduction | None = None


class _Audio(_Fields):
    input: _Input = Field(default_factory=_Input)


class _Session(_Fields):
    type: Literal["transcription"] = "transcription"
    audio: _Audio = Field(default_factory=_Audio)
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None


class _BetaSession(_Fields):
    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | None = None
    input_audio_transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None = None
    input_audio_noise_reduction: _NoiseReduction | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None


def ga_changes(session: Any) -> dict[str, Any]:
    """The changes that a `session` object of the GA shape makes, for `RealtimeSession.changed`.

    Raises
    ------
    ParamError
        naming the field by its path.

    """
    fields = _validated(_Session, session).given()
    changes = dict(fields.get("audio", {}).get("input", {}))
    if "include" in fields:
        changes["include"] = fields["include"]
    return changes


def beta_changes(session: Any) -> dict[str, Any]:
    """The same of the beta shape. Raises `ParamError`."""
    fields = _validated(_BetaSession, session).given()
    names = {
        "input_audio_transcription": "transcription",
        "input_audio_noise_reduction": "noise_reduction",
        "turn_detection": "turn_detection",
        "include": "include",
    }
    changes = {ours: fields[theirs] for theirs, ours in names.items() if theirs in fields}
    if "input_audio_format" in fields:
        name = fields["input_audio_format"]
        changes["format"] = name and {"type": _BETA_FORMATS[name]}
    return changes


def _validated(model: type[_Fields], session: Any) -> _Fields:
    if not isinstance(session, dict):
        raise ParamError(f"Expected an object, but got {str(session)[:80]!r}", "session")
    try:
        return model(**session)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(["session", *(str(part) for part in first["loc"])])
        raise ParamError(
            f"{first['msg']}, but got {str(first['input'])[:80]!r}", path, code="invalid_value"
        ) from error


# --- the configuration ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """The effective configuration of a session.

    `turn_detection`: None if the client ends segments by committing the buffer. `transcription`: the fields
    that are set.
    """

    format: str = "audio/pcm"
    rate: int = PCM_RATE
    transcription: Mapping[str, Any] | None = None
    turn_detection: Mapping[str, Any] | None = None
    noise_reduction: Mapping[str, Any] | None = None
    include: tuple[str, ...] = ()

    @classmethod
    def default(cls, model: str | None = None) -> "RealtimeSession":
        """What a client gets that configures nothing: turn detection by the server."""
        return cls(transcription={"model": model} if model else {}, turn_detection=_SERVER_VAD)

    def changed(self, changes: Mapping[str, Any]) -> "RealtimeSession":
        """The configuration with the changes of `ga_changes` or `beta_changes`."""
        new = self
        if "format" in changes:
            new = new._in_format(changes["format"] or {"type": "audio/pcm"})
        if "transcription" in changes:
            given = changes["transcription"] or {}
            merged = {**(self.transcription or {} if given else {}), **given}
            new = replace(new, transcription={k: v for k, v in merged.items() if v not in (None, "")})
        if "turn_detection" in changes:
            new = replace(new, turn_detection=self._turns(changes["turn_detection"]))
        if "noise_reduction" in changes:
            new = replace(new, noise_reduction=changes["noise_reduction"])
        if "include" in changes:
            new = replace(new, include=tuple(changes["include"] or ()))
        return new

    def _in_format(self, given: Mapping[str, Any]) -> "RealtimeSession":
        rate = PCM_RATE if given["type"] == "audio/pcm" else PHONE_RATE
        return replace(self, format=given["type"], rate=given.get("rate") or rate)

    def _turns(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if given is None:
            return None
        kind = given.get("type", "server_vad")
        current = self.turn_detection or {}
        before = current if current.get("type") == kind else _DEFAULTS[kind]
        turns = {**before, "type": kind, **{k: v for k, v in given.items() if v is not None}}
        if kind == "server_vad":  # the nearest possible value, which is reported
            silence = turns["silence_duration_ms"]
            turns["silence_duration_ms"] = min(max(silence, SHORTEST_SILENCE_MS), LONGEST_SILENCE_MS)
        return turns

    # --- for the door -----------------------------------------------------------------------------

    @property
    def audio_format(self) -> AudioFormat:
        """The format of the bytes in `input_audio_buffer.append`."""
        return AudioFormat(encoding=_ENCODINGS[self.format], sample_rate=self.rate)

    @property
    def manual(self) -> bool:
        """Whether only `input_audio_buffer.commit` ends a segment."""
        return self.turn_detection is None

    @property
    def logprobs(self) -> bool:
        """Whether completed events contain log probabilities."""
        return LOGPROBS in self.include

    @property
    def diarizes(self) -> bool:
        """Whether speakers are labelled: OpenAI has a model for it."""
        return str((self.transcription or {}).get("model", "")).endswith("-diarize")

    @property
    def silence_ms(self) -> int | None:
        """Silence that ends a segment, in milliseconds; None for the transcriber's default."""
        turns = self.turn_detection
        if turns is None:
            return None
        if turns["type"] == "semantic_vad":
            return _EAGERNESS_MS[turns["eagerness"]]
        silence: int = turns["silence_duration_ms"]
        return silence

    @property
    def prefix_ms(self) -> int:
        """Audio before the beginning of speech that `speech_started` counts to the segment."""
        turns = self.turn_detection or {}
        prefix: int = turns.get("prefix_padding_ms", _SERVER_VAD["prefix_padding_ms"])
        return prefix

    @property
    def config(self) -> dict[str, Any]:
        """The fields of a `SessionConfig` that this configuration sets."""
        given = self.transcription or {}
        choice = [given["language"]] if "language" in given else given.get("languages", [])
        return {
            "language": ",".join(dict.fromkeys(choice)) or None,
            "prompt": given.get("prompt", ""),
            "hotwords": _hotwords(given.get("keywords", [])),
            "words": self.logprobs,
            "diarize": self.diarizes,
            "vad_silence_ms": self.silence_ms,
        }

    # --- for the client ---------------------------------------------------------------------------

    def ga(self, session_id: str) -> dict[str, Any]:
        """The session object of the GA shape."""
        return {
            "type": "transcription",
            "object": OBJECT,
            "id": session_id,
            "audio": {
                "input": {
                    "format": self._reported_format,
                    "transcription": self._reported_transcription,
                    "noise_reduction": self.noise_reduction,
                    "turn_detection": self.turn_detection,
                }
            },
            "include": list(self.include) or None,
        }

    def beta(self, session_id: str) -> dict[str, Any]:
        """The session object of the beta shape."""
        names = {ga: beta for beta, ga in _BETA_FORMATS.items()}
        return {
            "id": session_id,
            "object": OBJECT,
            "input_audio_format": names[self.format],
            "input_audio_transcription": self._reported_transcription,
            "turn_detection": self.turn_detection,
            "input_audio_noise_reduction": self.noise_reduction,
            "include": list(self.include) or None,
        }

    @property
    def _reported_format(self) -> dict[str, Any]:
        return (
            {"type": self.format, "rate": self.rate} if self.format == "audio/pcm" else {"type": self.format}
        )

    @property
    def _reported_transcription(self) -> dict[str, Any]:
        return {"model": None, "language": None, "prompt": "", **(self.transcription or {})}

    def claims(self) -> dict[str, Any]:
        """What an access token carries of this configuration; `of_claims` reads it."""
        return {
            "format": self._reported_format,
            "transcription": self.transcription,
            "turn_detection": self.turn_detection,
            "noise_reduction": self.noise_reduction,
            "include": self.include,
        }

    @classmethod
    def of_claims(cls, claims: Mapping[str, Any]) -> "RealtimeSession":
        """The configuration in the claims of an access token."""
        return cls().changed(claims)
