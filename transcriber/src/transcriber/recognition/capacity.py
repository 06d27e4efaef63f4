"""How many live sessions a worker can own, estimated from the engine time that its sessions take. Pure.

Finals, with their further decodes, and first partials are needed; further partials take what time is left,
at an interval that may grow to `FULL_INTERVAL_S`. So the capacity is the number of sessions whose needed
windows and partials at that interval keep the engine busy for `TARGET_LOAD` of the time. Costs are in wall
time and measured under load, because a window takes several times as long when other processes use the same
cores.

The estimate falls slowly, so that neither a burst nor another program's load lowers it. If the engine is
overloaded all the same, the worker takes no more sessions than it has.
"""

from typing import Final

from transcriber.recognition.cadence import TARGET_LOAD

INITIAL_SESSIONS: Final = 12
"""The capacity before enough audio has been measured."""

MAX_SESSIONS: Final = 256
"""The greatest capacity, whatever the measured cost."""

FULL_INTERVAL_S: Final = 1.2  # interval of partials at capacity
MIN_LOAD: Final = 0.5  # below this load of the engine, costs aren't representative
MIN_AUDIO_S: Final = 40.0  # seconds of audio before the measured cost is used
DECAY: Final = 0.97  # weight of earlier observations at each heartbeat: a half-life of 23 s
RISE: Final = 1.06  # greatest growth of the estimate at a heartbeat, as a factor
FALL: Final = 0.995  # … and greatest decline
OVERLOADED_S: Final = 1.6  # an interval of partials that is longer …
OVERLOADED_BEATS: Final = 5  # … for so many heartbeats in a row means overload, …
CALM_BEATS: Final = 5  # … until it has been shorter for so many


class Capacity:
    """The capacity of one worker. `fixed`: a configured number of sessions; None to estimate it."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._engine_s = 0.0
        self._audio_s = 0.0
        self._estimate = float(INITIAL_SESSIONS)
        self._measured = False
        self._beats = 0  # consecutive heartbeats that speak for a change of `_overloaded`
        self._overloaded = False

    def observe(
        self, *, needed_s: float, partials_s: float, audio_s: float, interval_s: float, load: float
    ) -> None:
        """Record a heartbeat: `audio_s` seconds of audio took `needed_s` and `partials_s` of engine time.

        `interval_s`: the interval of partials. `load`: the engine's load, in [0, 1].
        """
        differs = (interval_s > OVERLOADED_S) != self._overloaded
        self._beats = self._beats + 1 if differs else 0
        if self._beats >= (CALM_BEATS if self._overloaded else OVERLOADED_BEATS):
            self._overloaded, self._beats = not self._overloaded, 0
        if load < MIN_LOAD:
            return
        self._engine_s = DECAY * self._engine_s + needed_s + partials_s * interval_s / FULL_INTERVAL_S
        self._audio_s = DECAY * self._audio_s + audio_s
        if self._audio_s < MIN_AUDIO_S or not self._engine_s:
            return
        found = TARGET_LOAD * self._audio_s / self._engine_s
        self._estimate = min(max(found, self._estimate * FALL), self._estimate * RISE)
        self._measured = True

    def sessions(self, now: int) -> int:
        """The number of sessions that the worker can own. `now`: sessions that it owns."""
        if self._fixed is not None:
            return self._fixed
        estimate = max(1, min(MAX_SESSIONS, round(self._estimate)))
        return min(now, estimate) if self._overloaded and now else estimate

    @property
    def reason(self) -> str:
        """Where the number comes from: `configured`, `initial`, `measured` or `overloaded`."""
        if self._fixed is not None:
            return "configured"
        if self._overloaded:
            return "overloaded"
        return "measured" if self._measured else "initial"
