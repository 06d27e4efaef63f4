"""How many live sessions a worker can own, estimated from the engine time of past finals. Pure.

Partials become rarer as load grows, finals don't. So the engine time that a session's finals take limits the
number of sessions. It is measured in wall time, so a machine busy with other processes takes fewer sessions.
"""

from typing import Final

INITIAL_SESSIONS: Final = 12
"""The capacity before enough audio has been measured."""

MAX_SESSIONS: Final = 256
"""The greatest capacity, whatever the measured cost."""

FINALS_SHARE: Final = 0.6  # share of the engine's time that finals may take
REDECODE_COST: Final = 2.0  # engine time of a final that may be decoded again, relative to one that may not
MIN_AUDIO_S: Final = 20.0  # seconds of audio before the measured cost is used
DECAY: Final = 0.98  # weight of earlier observations at each heartbeat: a half-life of 34 s
MAX_QUEUE_DELAY_S: Final = 0.6  # above this queue delay no more sessions are taken …
LOAD_THRESHOLD: Final = 0.8  # … if the engine's load is above this; at less load the delay is outdated


class Capacity:
    """The capacity of one worker. `fixed`: a configured number of sessions; None to estimate it."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._engine_s = 0.0
        self._audio_s = 0.0

    def observe(self, engine_s: float, audio_s: float, *, redecode_s: float) -> None:
        """Record that finals of `audio_s` seconds of live audio took `engine_s` seconds of engine time.

        `redecode_s`: the part of `engine_s` for finals that could be decoded again because load was low.
        """
        self._engine_s = DECAY * self._engine_s + engine_s - redecode_s * (1 - 1 / REDECODE_COST)
        self._audio_s = DECAY * self._audio_s + audio_s

    @property
    def cost(self) -> float | None:
        """Engine seconds per second of a session's audio under load; None before enough was measured."""
        return self._engine_s / self._audio_s if self._audio_s >= MIN_AUDIO_S else None

    def sessions(self, now: int, *, delay_s: float, load: float) -> int:
        """The number of sessions that the worker can own.

        `now`: sessions that it owns. `delay_s`: queue delay in seconds. `load`: the engine's load in the last
        second, in [0, 1].
        """
        if self._fixed is not None:
            return self._fixed
        if now and delay_s > MAX_QUEUE_DELAY_S and load > LOAD_THRESHOLD:
            return now
        cost = self.cost
        if cost is None:
            return INITIAL_SESSIONS
        return max(1, min(MAX_SESSIONS, int(FINALS_SHARE / cost) if cost else MAX_SESSIONS))
