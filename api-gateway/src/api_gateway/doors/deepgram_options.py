"""The query parameters of Deepgram's API, live and for recorded files. Pure.

A parameter is honoured, refused with `InvalidRequestError`, or listed in `not_honoured` with what is done
instead, so that it can be reported to the client.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from api_gateway.doors.base import explain
from api_gateway.handshake import Handshake
from api_gateway.presenters.deepgram import Style
from parlando.domain.audio import Encoding
from parlando.domain.config import SessionConfig
from parlando.domain.formats import MAX_CHANNELS, AudioFormat
from parlando.errors import InvalidRequestError

MIN_SILENCE_MS: Final = 100
MAX_SILENCE_MS: Final = 5000
DEFAULT_SILENCE_S: Final = 0.5
"""Silence after which a speaker counts as having paused, if the session leaves it to the cluster."""
MIN_UTTERANCE_END_MS: Final = 1000
MAX_UTTERANCE_END_MS: Final = 60_000
MAX_HOTWORDS: Final = 1000  # characters
MAX_HEADER: Final = 1500  # characters of the header that lists what isn't honoured

RAW: Final = {
    "linear16": Encoding.PCM_S16LE,
    "linear32": Encoding.PCM_F32LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}
"""Encodings without a container."""
CONTAINED: Final = frozenset({"flac", "ogg-opus", "opus"})
"""Encodings that FFmpeg recognises by their first bytes; Opus must be in Ogg or WebM."""

TEXT_FEATURES: Final = {
    "numerals": "numbers are written as the engine writes them",
    "measurements": "units are written as the engine writes them",
    "profanity_filter": "words are not filtered",
    "redact": "nothing is redacted",
    "replace": "no words are replaced",
    "search": "nothing is searched",
    "dictation": "spoken commands are written as words",
    "detect_entities": "entities are not detected",
    "filler_words": "the engine decides on filler words",
    "sentiment": "sentiments are not analysed",
    "summarize": "there is no summary",
    "topics": "topics are not detected",
    "custom_topic": "topics are not detected",
    "custom_topic_mode": "topics are not detected",
    "intents": "intents are not detected",
    "custom_intent": "intents are not detected",
    "custom_intent_mode": "intents are not detected",
}
"""Parameter → what is done instead."""
_NO_EFFECT: Final = frozenset({"mip_opt_out", "no_delay", "token"})
"""Parameters that ask for what is always so: audio isn't used for training, text isn't held back."""
_FALSE: Final = frozenset({"", "false", "0"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Query:
    """The parameters of a request; it notes which were read."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._read: set[str] = set()

    def text(self, name: str) -> str | None:
        """The last value; None if it is missing or empty."""
        self._read.add(name)
        return (self._handshake.query.get(name) or "").strip() or None

    def many(self, name: str) -> list[str]:
        """All values that aren't empty."""
        self._read.add(name)
        return [value.strip() for value in self._handshake.many(name) if value.strip()]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value. Raises `InvalidRequestError`."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false", "1", "0"):
            raise InvalidRequestError(f"{name}: expected true or false, but got {value[:40]!r}")
        return value.lower() in ("true", "1")

    def number(self, name: str, least: int, most: int) -> int | None:
        """A whole number from `least` to `most`. Raises `InvalidRequestError`."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise InvalidRequestError(
                f"{name}: expected a whole number from {least} to {most}, but got {value[:40]!r}"
            )
        return int(value)

    def decimal(self, name: str, least: float, most: float) -> float | None:
        """A number from `least` to `most`. Raises `InvalidRequestError`."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise InvalidRequestError(
                f"{name}: expected a number from {least:g} to {most:g}, but got {value[:40]!r}"
            )
        return number

    def unread(self) -> list[str]:
        """The names that no call has read, each once; without those whose value is empty or false."""
        names = dict.fromkeys(name for name, _ in self._handshake.pairs or self._handshake.query.items())
        return [
            name
            for name in names
            if name not in self._read and any(v.lower() not in _FALSE for v in self._handshake.many(name))
        ]


def not_honoured_of(query: Query) -> list[tuple[str, str]]:
    """The parameters that nothing has read, with what is done instead. Call it last."""
    found = []
    for name in query.unread():
        if name in _NO_EFFECT:
            continue
        safe = name if _NAME.fullmatch(name) else "a parameter"
        found.append((safe, TEXT_FEATURES.get(name, "it is not known here, and ignored")))
    return found


def header_of(not_honoured: Iterable[tuple[str, str]]) -> str:
    """The value of the header that lists what isn't honoured: `name: message; name: message`."""
    return "; ".join(f"{name}: {message}" for name, message in not_honoured)[:MAX_HEADER]


def hotwords_of(terms: Iterable[str], *, weighted: bool = False) -> str:
    """Terms as hotwords. `weighted`: each may end with `:<number>`, its weight, which is ignored."""
    cleaned = []
    for term in terms:
        if weighted and re.search(r":-?[0-9.]+$", term):
            term = term.rpartition(":")[0]
        cleaned.append(" ".join(term.replace(",", " ").split()))
    joined = ", ".join(dict.fromkeys(filter(None, cleaned)))
    if len(joined) > MAX_HOTWORDS:
        raise InvalidRequestError(
            f"keyterm, keywords: expected at most {MAX_HOTWORDS} characters in all, but got {len(joined)}"
        )
    return joined


def strings(name: str, values: object) -> list[str]:
    """A list of strings in a message. Raises `InvalidRequestError`."""
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise InvalidRequestError(f"{name}: expected a list of strings, but got {str(values)[:40]!r}")
    return values


def fields_of(name: str, value: object) -> dict[str, Any]:
    """An object in a message; empty for None. Raises `InvalidRequestError`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{name}: expected an object, but got {str(value)[:40]!r}")
    return value


def vocabulary(query: Query) -> str:
    """The hotwords of `keyterm` and `keywords`. Raises `InvalidRequestError`."""
    weighted = hotwords_of(query.many("keywords"), weighted=True)
    return hotwords_of([*query.many("keyterm"), *filter(None, weighted.split(", "))])


def language_of(query: Query, *, detect: bool = False) -> str | None:
    """The language: `en` by default. None (any), or those of `language_hint`, for `multi` and `detect`."""
    named = query.text("language")
    hints = ",".join(query.many("language_hint"))
    if detect or (named or "").lower() in ("multi", "auto"):
        return hints or None
    return named or "en"


def style_of(query: Query, *, diarize: bool, paragraphs: bool = False) -> Style:
    """How text is written. Punctuation is asked for with `punctuate` or with what implies it."""
    punctuate, smart = query.flag("punctuate"), query.flag("smart_format")
    languages = (query.text("language") or "").lower() == "multi"
    return Style(punctuate or smart or paragraphs, diarize, languages)


def format_of(query: Query) -> AudioFormat:
    """The audio format of `encoding`, `sample_rate` and `channels`; a container without `encoding`.

    Raises
    ------
    InvalidRequestError

    """
    encoding = query.text("encoding")
    rate = query.number("sample_rate", 1, 1_000_000)
    channels = query.number("channels", 1, MAX_CHANNELS) or 1
    if encoding is None or encoding in CONTAINED:
        return AudioFormat(encoding=Encoding.CONTAINER)
    if encoding not in RAW:
        known = ", ".join([*RAW, *sorted(CONTAINED)])
        raise InvalidRequestError(
            f"encoding: expected one of {known}, or none for a container, but got {encoding[:40]!r}"
        )
    if rate is None:
        raise InvalidRequestError(f"sample_rate: expected a rate in Hz for encoding {encoding}, but got none")
    try:
        return AudioFormat(encoding=RAW[encoding], sample_rate=rate, channels=channels)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def config_of(fields: Mapping[str, Any]) -> SessionConfig:
    """A session's config. Raises `InvalidRequestError`."""
    try:
        return SessionConfig(**fields)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error


def silence_within_bounds(
    name: str, ms: float, *, least: int = MIN_SILENCE_MS, most: int = MAX_SILENCE_MS
) -> tuple[int, list[tuple[str, str]]]:
    """The nearest silence that a session can be set to, and what to report if it is another one."""
    fitting = round(min(max(ms, least), most))
    if fitting == ms:
        return fitting, []
    return fitting, [(name, f"{fitting} ms, the nearest possible, instead of {ms:g} ms")]


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """The parsed parameters of `WS /v1/listen`.

    `channels`: sessions of the connection; more than one with `multichannel`. `format`: of the whole stream.
    `endpointing`: whether a pause sets `speech_final`.
    """

    config: SessionConfig
    format: AudioFormat
    channels: int
    style: Style
    endpointing: bool
    utterance_end_s: float | None
    vad_events: bool
    not_honoured: tuple[tuple[str, str], ...]


def listen_options(handshake: Handshake) -> ListenOptions:
    """Parse the parameters of `WS /v1/listen`.

    Raises
    ------
    InvalidRequestError
        naming the parameter, the expected value and the received one.

    """
    query = Query(handshake)
    if query.text("callback"):
        raise InvalidRequestError(
            "callback: results are sent on this connection only; use POST /v1/listen for a callback"
        )
    form = format_of(query)
    reported: list[tuple[str, str]] = []
    interim = query.flag("interim_results")
    silence, endpointing = None, True
    named = query.text("endpointing")
    if named is not None and named.lower() == "false":
        endpointing = False
    elif named is not None and named.lower() != "true":
        ms = query.number("endpointing", 0, 1_000_000) or 0
        silence, clamped = silence_within_bounds("endpointing", ms)
        reported += clamped
    utterance_end = query.number("utterance_end_ms", MIN_UTTERANCE_END_MS, MAX_UTTERANCE_END_MS)
    if utterance_end is not None and not interim:
        raise InvalidRequestError("utterance_end_ms: expected interim_results=true with it")
    multichannel = query.flag("multichannel")
    count = query.number("channels", 1, MAX_CHANNELS)
    if multichannel and count is None:
        raise InvalidRequestError("channels: expected the number of channels with multichannel=true")
    diarize = query.flag("diarize") or bool(query.text("diarize_model"))
    style = style_of(query, diarize=diarize)
    vad_events = query.flag("vad_events")
    config = config_of(
        {
            "language": language_of(query),
            "hotwords": vocabulary(query),
            "interim": interim,
            "words": True,
            "diarize": diarize,
            "vad_silence_ms": silence,
        }
    )
    query.text("model")  # every result has the name of the model that is used
    if query.text("version") not in (None, "latest"):
        reported.append(("version", "the installed model is used"))
    for name in ("tag", "extra"):
        if query.many(name):
            reported.append((name, "live sessions have no labels"))
    return ListenOptions(
        config=config,
        format=form,
        channels=(count or 1) if multichannel else 1,
        style=style,
        endpointing=endpointing,
        utterance_end_s=None if utterance_end is None else utterance_end / 1000,
        vad_events=vad_events,
        not_honoured=(*reported, *not_honoured_of(query)),
    )
