"""How often partials are decoded: as often as the engine has time for. Pure.

The interval is controlled so that the engine is busy for `TARGET_LOAD` of the time: what finals and first
partials leave, later partials use. An integral controller in the logarithm of the interval needs to know
neither the number of sessions nor the cost of a window, so it works for every engine.
"""

import math
from typing import Final

LEAST, MOST = 0.5, 4.0  # limits of the interval, relative to the configured one
TARGET_LOAD: Final = 0.8  # share of the engine's time; the rest keeps the queue short
GAIN: Final = 0.5  # change of the interval's logarithm in a second, per unit of load above the target
LOAD_S: Final = 2.0  # time constant of the smoothed load
DELAY_WEIGHT: Final = 0.1  # weight of a new observation in the smoothed queue delay
CONTEXT_UP_TO: Final = 0.7  # interval, relative to the configured one, up to which finals have context, …
HURRIED_FROM: Final = 0.8  # … from which speculations wait for more silence, …
REDECODE_UP_TO: Final = 3.0  # … and up to which windows are decoded more than once


class Cadence:
    """The interval between a session's partials in samples. `interval`: the configured one."""

    def __init__(self, interval: int) -> None:
        self._configured = interval
        self._factor = LEAST
        self._at: float | None = None
        self.load = 0.0
        """The smoothed share of the engine's time in use, in [0, 1]."""
        self.delay_s = 0.0
        """The smoothed time that windows wait for the engine."""

    @property
    def interval(self) -> int:
        """Samples of new audio between two partials."""
        return int(self._configured * self._factor)

    @property
    def allows_redecode(self) -> bool:
        """Whether there is time to decode a window more than once."""
        return self._factor <= REDECODE_UP_TO

    @property
    def hurried(self) -> bool:
        """Whether windows that may turn out to be superfluous should be avoided."""
        return self._factor > HURRIED_FROM

    @property
    def allows_context(self) -> bool:
        """Whether there is time to decode finals with the audio before them."""
        return self._factor <= CONTEXT_UP_TO

    def observe_delay(self, delay_s: float) -> None:
        """Record that a window has waited `delay_s` seconds for the engine."""
        self.delay_s += DELAY_WEIGHT * (delay_s - self.delay_s)

    def observe(self, busy_s: float, now: float) -> None:
        """Record that the engine was busy for `busy_s` seconds since the last call; `now` in seconds."""
        passed, self._at = 0.0 if self._at is None else now - self._at, now
        if passed <= 0:
            return
        share = busy_s / passed  # above 1 if a decode that has ended took longer than `passed`
        self.load += (share - self.load) * (1 - math.exp(-passed / LOAD_S))
        step = GAIN * min(passed, LOAD_S) * (self.load - TARGET_LOAD)
        self._factor = min(MOST, max(LEAST, self._factor * math.exp(step)))
