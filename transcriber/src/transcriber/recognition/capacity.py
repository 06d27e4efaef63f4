"""How many live sessions a worker can take, from what the ones before have cost. Pure.

Partials become rarer as load grows, finals don't: so what a session's finals cost the engine says how many
fit. It is measured in wall time, so a machine that is busy with other things takes fewer.
"""

from typing import Final

INITIAL_SESSIONS: Final = 12
"""Sessions taken while nothing is known."""

MAX_SESSIONS: Final = 256
"""Sessions that a worker never exceeds, whatever they cost."""

FINALS_SHARE: Final = 0.6  # of the engine's time that finals may take
REDECODE_COST: Final = 2.0  # what finals cost that are heard patiently, against those that aren't
MIN_AUDIO_S: Final = 20.0  # of audio, before the cost is believed
DECAY: Final = 0.98  # of what was seen, from one observation to the next: half of it for 34 s
MAX_QUEUE_DELAY_S: Final = 0.6  # a queue delay at which nobody more is taken …
LOAD_THRESHOLD: Final = 0.8  # … while the engine is that busy; the delay is an old one otherwise


class Capacity:
    """An estimate, or a number that was `given`."""

    def __init__(self, given: int | None = None) -> None:
        self._given = given
        self._engine_s = 0.0
        self._audio_s = 0.0

    def observe(self, engine_s: float, audio_s: float, *, redecode_s: float) -> None:
        """Take note that finals of `audio_s` seconds of live audio have cost `engine_s` seconds, of which
        `redecode_s` were taken because there was time.
        """
        self._engine_s = DECAY * self._engine_s + engine_s - redecode_s * (1 - 1 / REDECODE_COST)
        self._audio_s = DECAY * self._audio_s + audio_s

    @property
    def cost(self) -> float | None:
        """The engine's seconds for a second of a session under load; None while nobody can tell."""
        return self._engine_s / self._audio_s if self._audio_s >= MIN_AUDIO_S else None

    def sessions(self, now: int, *, delay_s: float, load: float) -> int:
        """How many sessions fit, when there are `now`, windows wait for `delay_s` seconds, and the engine
        was busy for a share `load` of the last second.
        """
        if self._given is not None:
            return self._given
        if now and delay_s > MAX_QUEUE_DELAY_S and load > LOAD_THRESHOLD:
            return now
        cost = self.cost
        if cost is None:
            return INITIAL_SESSIONS
        return max(1, min(MAX_SESSIONS, int(FINALS_SHARE / cost) if cost else MAX_SESSIONS))
