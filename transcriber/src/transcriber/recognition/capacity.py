"""How many live sessions a worker can own, estimated from the engine time that its sessions take. Pure.

Finals, first partials and further decodes of doubtful finals are needed; further partials take what time is
left, at an interval that may grow to `FULL_INTERVAL_S`. So the capacity is the number of sessions whose
needed windows and partials at that interval keep the engine busy for `TARGET_LOAD` of the time. Costs are in
wall time and measured under load, because a window takes several times as long when other processes use the
same cores.

The cost of finals is relative to the audio that has a final, and that of partials to all audio: in the first
seconds of a session it has partials but no final yet, and the sum relative to either would be too high or
too low.

The estimate falls slowly, so that neither a burst nor another program's load lowers it. If the engine is
overloaded all the same, the worker takes no more sessions than it has.
"""

from dataclasses import astuple, dataclass, replace
from typing import Final

from transcriber.recognition.cadence import TARGET_LOAD

INITIAL_SESSIONS: Final = 12
"""The capacity before enough audio has been measured."""

MAX_SESSIONS: Final = 256
"""The greatest capacity, whatever the measured cost."""

FULL_INTERVAL_S: Final = 1.2  # interval of partials at capacity
MIN_LOAD: Final = 0.5  # below this load of the engine, costs aren't representative
MIN_AUDIO_S: Final = 20.0  # seconds of audio before the measured cost is used
DECAY: Final = 0.97  # weight of earlier observations at each heartbeat: a half-life of 23 s
RISE: Final = 1.08  # greatest growth of the estimate at a heartbeat, as a factor
FALL: Final = 0.997  # … and greatest decline
OVERLOADED_S: Final = 1.6  # an interval of partials that is longer …
OVERLOADED_BEATS: Final = 5  # … for so many heartbeats in a row means overload, …
CALM_BEATS: Final = 5  # … until it has been shorter for so many


@dataclass(frozen=True, slots=True)
class Spent:
    """Engine time and live audio, in seconds, since a worker began or between two of its heartbeats.

    `finals`: engine time of finals and of the further decodes of doubtful ones. `settled`: audio that has a
    final. `first_partials`, `partials`: engine time of first and of further partials. `received`: all audio.
    """

    finals: float = 0.0
    first_partials: float = 0.0
    partials: float = 0.0
    settled: float = 0.0
    received: float = 0.0

    @property
    def cost(self) -> float:
        """Engine time of a session per second of its audio."""
        return self.finals / self.settled + (self.first_partials + self.partials) / self.received

    def since(self, before: "Spent") -> "Spent":
        """What was added after `before`."""
        return Spent(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


class Capacity:
    """The capacity of one worker. `fixed`: a configured number of sessions; None to estimate it."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._spent = Spent()  # weighted by age; `partials` as if they had had `FULL_INTERVAL_S`
        self._estimate = float(INITIAL_SESSIONS)
        self._measured = False
        self._beats = 0  # consecutive heartbeats that speak for a change of `_overloaded`
        self._overloaded = False

    def observe(self, spent: Spent, *, interval_s: float, load: float) -> None:
        """Record a heartbeat. `interval_s`: the interval of partials. `load`: the engine's, in [0, 1]."""
        differs = (interval_s > OVERLOADED_S) != self._overloaded
        self._beats = self._beats + 1 if differs else 0
        if self._beats >= (CALM_BEATS if self._overloaded else OVERLOADED_BEATS):
            self._overloaded, self._beats = not self._overloaded, 0
        if load < MIN_LOAD:
            return
        spent = replace(spent, partials=spent.partials * interval_s / FULL_INTERVAL_S)
        self._spent = Spent(
            *(DECAY * old + new for old, new in zip(astuple(self._spent), astuple(spent), strict=True))
        )
        if min(self._spent.settled, self._spent.received) < MIN_AUDIO_S or not self._spent.cost:
            return
        found = TARGET_LOAD / self._spent.cost
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
