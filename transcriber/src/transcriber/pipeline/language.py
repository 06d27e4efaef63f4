"""The language of a session that doesn't name one: detected in each segment, then locked. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from parlando.domain.audio import samples
from transcriber.engines.base import Hypothesis

TRUSTED: Final = 0.6
"""Least probability at which a detected language is trusted."""
MIN_SPEECH: Final = samples(1000)
"""Samples of speech that a detection needs to be trusted …"""
EARLY_SPEECH: Final = samples(2000)
"""… before this many …"""
EARLY_TRUSTED: Final = 0.8
"""… only at this probability."""
AGREEING: Final = 2
"""Segments in a row with the same trusted language, after which it is locked."""
DOUBTFUL: Final = 0.65
"""A lower confidence raises doubts about the locked language (Whisper base: in 96 of 113 decodes in a wrong
language, and in 4 of 27 in the right one) …"""
DOUBTFUL_FINALS: Final = 2
"""… and as many finals in a row with it end the lock."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A detected language and its probability."""

    language: str
    probability: float

    @property
    def is_trusted(self) -> bool:
        """Whether the probability is high enough to rely on."""
        return self.probability >= TRUSTED

    def is_settled(self, speech: int) -> bool:
        """Whether a segment keeps this language, which was detected in `speech` samples of it."""
        enough = TRUSTED if speech >= EARLY_SPEECH else EARLY_TRUSTED
        return speech >= MIN_SPEECH and self.probability >= enough


def detected(hypothesis: Hypothesis) -> Detected | None:
    """The language that the engine detected; None if it was told the language, or doesn't detect it."""
    if hypothesis.language is None or hypothesis.language_probability is None:
        return None
    return Detected(hypothesis.language, hypothesis.language_probability)


@dataclass(frozen=True, slots=True)
class LanguageChange:
    """A lock was taken, or has ended; then `found` is the language found last."""

    found: Detected
    locked: bool


class LanguageTracker:
    """Follows the languages of a session's segments. `choice`: those that the config allows, () for any.

    If the choice changes, it begins anew. With a choice of one language there is nothing to follow.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """`state`: from `dump`."""
        state = state or {}
        self._choice: tuple[str, ...] = tuple(state.get("choice", ()))
        self._found = Detected(**state["found"]) if state.get("found") else None
        self._agreeing: int = state.get("agreeing", 0)
        self._doubtful: int = state.get("doubtful", 0)

    def dump(self) -> dict[str, Any]:
        """The state, JSON-able."""
        return {
            "choice": self._choice,
            "found": self._found and asdict(self._found),
            "agreeing": self._agreeing,
            "doubtful": self._doubtful,
        }

    def locked(self, choice: Sequence[str]) -> str | None:
        """The locked language; None if there is none."""
        if tuple(choice) != self._choice or self._found is None or self._agreeing < AGREEING:
            return None
        return self._found.language

    def expected(self, choice: Sequence[str], speech: int) -> str | None:
        """The language to decode a segment in that has `speech` samples so far; None to detect it.

        A segment that is too short to detect its language is expected to have that of the segment before.
        """
        if len(choice) == 1:
            return choice[0]
        if speech < MIN_SPEECH and tuple(choice) == self._choice and self._found is not None:
            return self._found.language
        return self.locked(choice)

    def doubts(self, choice: Sequence[str], hypothesis: Hypothesis, speech: int) -> bool:
        """Whether the hypothesis, which was decoded in the locked language, may be in another one."""
        return (
            self.locked(choice) is not None
            and bool(hypothesis.words)
            and hypothesis.confidence is not None
            and hypothesis.confidence < DOUBTFUL
            and speech >= MIN_SPEECH
        )

    def settle(
        self, choice: Sequence[str], found: Detected | None, confidence: float | None
    ) -> LanguageChange | None:
        """Add a segment that has its final. `found`: its language, if it was detected. `confidence`: of the
        final, in [0, 1]; None without words.
        """
        if tuple(choice) != self._choice:
            self._choice, self._found, self._agreeing, self._doubtful = tuple(choice), None, 0, 0
        before = self.locked(choice)
        if found is not None and found.is_trusted:
            same = self._found is not None and self._found.language == found.language
            self._found, self._agreeing, self._doubtful = found, self._agreeing + 1 if same else 1, 0
        elif before is not None and confidence is not None:
            self._doubtful = self._doubtful + 1 if confidence < DOUBTFUL else 0
            if self._doubtful == DOUBTFUL_FINALS:
                self._agreeing = self._doubtful = 0
        after = self.locked(choice)
        if before == after or self._found is None:
            return None
        return LanguageChange(self._found, after is not None)
