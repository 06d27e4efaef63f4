"""The query parameters of Deepgram's protocol for turns, and when a turn ends. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api_gateway.doors.deepgram_options import (
    MAX_SILENCE_MS,
    Query,
    config_of,
    fields_of,
    format_of,
    hotwords_of,
    not_honoured_of,
    silence_within_bounds,
    strings,
    vocabulary,
)
from api_gateway.handshake import Handshake
from parlando.domain.config import SessionConfig
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidRequestError

MULTILINGUAL: Final = "flux-general-multi"
EOT_THRESHOLD: Final = 0.7
EOT_TIMEOUT_MS: Final = 5000
SILENCE_MS: Final = 500
"""Silence that ends a turn at `EOT_THRESHOLD`."""
DOUBLES_EVERY: Final = 0.2
"""By how much a higher threshold doubles that silence."""
BOUNDS: Final = {
    "eot_threshold": (0.5, 1.0),
    "eager_eot_threshold": (0.3, 0.9),
    "eot_timeout_ms": (500, 60_000),
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a turn ends. `eager`: None for no `EagerEndOfTurn`."""

    eot: float | None = None
    eager: float | None = None
    timeout_ms: int | None = None

    @property
    def silence_ms(self) -> float:
        """The silence that ends a turn: longer for a higher threshold, and at most the timeout.

        With threshold 1 only the timeout ends a turn.
        """
        timeout = EOT_TIMEOUT_MS if self.timeout_ms is None else self.timeout_ms
        eot = EOT_THRESHOLD if self.eot is None else self.eot
        if eot >= 1.0:
            return timeout
        return min(timeout, SILENCE_MS * 2 ** ((eot - EOT_THRESHOLD) / DOUBLES_EVERY))

    @property
    def is_default(self) -> bool:
        """Whether the client leaves the silence to the cluster."""
        return self.eot is None and self.timeout_ms is None

    def fields(self) -> dict[str, Any]:
        """The thresholds in effect, as Deepgram names them."""
        found: dict[str, Any] = {
            "eot_threshold": EOT_THRESHOLD if self.eot is None else self.eot,
            "eot_timeout_ms": EOT_TIMEOUT_MS if self.timeout_ms is None else self.timeout_ms,
        }
        return found if self.eager is None else {**found, "eager_eot_threshold": self.eager}


@dataclass(frozen=True, slots=True)
class FluxOptions:
    """The parsed parameters of `WS /v2/listen`."""

    config: SessionConfig
    format: AudioFormat
    thresholds: Thresholds
    multilingual: bool
    hints: tuple[str, ...]
    not_honoured: tuple[tuple[str, str], ...]


def flux_options(handshake: Handshake) -> FluxOptions:
    """Parse the parameters of `WS /v2/listen`. Raises `InvalidRequestError`."""
    query = Query(handshake)
    thresholds = Thresholds(
        query.decimal("eot_threshold", *BOUNDS["eot_threshold"]),
        query.decimal("eager_eot_threshold", *BOUNDS["eager_eot_threshold"]),
        query.number("eot_timeout_ms", 500, 60_000),
    )
    silence, reported = silence_of(thresholds)
    multilingual = query.text("model") == MULTILINGUAL
    hints = tuple(query.many("language_hint"))
    if hints and not multilingual:
        reported.append(("language_hint", f"only model={MULTILINGUAL} uses hints"))
    language = "en"
    if multilingual:
        language = ",".join(hints) or "auto"
    config = config_of(
        {"language": language, "hotwords": vocabulary(query), "words": True, "vad_silence_ms": silence}
    )
    form = format_of(query)
    if query.many("tag"):
        reported.append(("tag", "live sessions have no labels"))
    return FluxOptions(config, form, thresholds, multilingual, hints, (*reported, *not_honoured_of(query)))


def silence_of(thresholds: Thresholds) -> tuple[int | None, list[tuple[str, str]]]:
    """The session's `vad_silence_ms`, and what to report if it isn't what was asked for."""
    if thresholds.is_default:
        return None, []
    name = "eot_timeout_ms" if thresholds.silence_ms > MAX_SILENCE_MS else "eot_threshold"
    return silence_within_bounds(name, round(thresholds.silence_ms))


@dataclass(frozen=True, slots=True)
class Change:
    """A parsed `Configure`. `config`: changes of the session's config. None: unchanged."""

    thresholds: Thresholds
    keyterms: list[str] | None
    hints: tuple[str, ...] | None
    config: dict[str, Any]


def change_of(body: Mapping[str, Any], old: Thresholds, *, multilingual: bool) -> Change:
    """Parse a `Configure` message. Raises `InvalidRequestError`."""
    known = {"type", "thresholds", "keyterms", "language_hints"}
    if unknown := [name for name in body if name not in known and body[name] is not None]:
        raise InvalidRequestError(
            f"Expected thresholds, keyterms or language_hints, but got {unknown[0][:40]}"
        )
    config: dict[str, Any] = {}
    thresholds = _thresholds_of(fields_of("thresholds", body.get("thresholds")), old)
    if thresholds.silence_ms != old.silence_ms:
        config["vad_silence_ms"], _ = silence_of(thresholds)
    terms, hints = body.get("keyterms"), body.get("language_hints")
    if terms is not None:
        terms = strings("keyterms", [terms] if isinstance(terms, str) else terms)
        config["hotwords"] = hotwords_of(terms)
    if hints is not None:
        if not multilingual:
            raise InvalidRequestError(f"language_hints: expected model={MULTILINGUAL} with them")
        config["language"] = ",".join(strings("language_hints", hints)) or None
    config_of({name: value for name, value in config.items() if value is not None})
    return Change(thresholds, terms, None if hints is None else tuple(hints), config)


def _thresholds_of(given: Mapping[str, Any], old: Thresholds) -> Thresholds:
    for name, value in given.items():
        if name not in BOUNDS:
            raise InvalidRequestError(f"thresholds: expected {', '.join(BOUNDS)}, but got {str(name)[:40]}")
        least, most = BOUNDS[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and least <= value <= most):
            raise InvalidRequestError(
                f"{name}: expected a number from {least:g} to {most:g}, but got {str(value)[:40]!r}"
            )
    return Thresholds(
        given.get("eot_threshold", old.eot),
        given.get("eager_eot_threshold", old.eager),
        given.get("eot_timeout_ms", old.timeout_ms),
    )
