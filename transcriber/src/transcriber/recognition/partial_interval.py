"""How often partials are decoded: rarer under load, so that finals aren't delayed. Pure."""

from typing import Final

INTERVAL_FACTORS: Final = (0.5, 1.0, 2.0, 4.0, None)
"""Factors of the base interval; None: finals only."""

MAX_DELAYS_S: Final = (0.01, 0.12, 0.3, 0.8)
"""Smoothed queue delay in seconds above which each step changes to the next; below half of it, back."""

SMOOTHING: Final = 0.2  # weight of a new observation
CALM_OBSERVATIONS: Final = 20  # consecutive observations of a short delay before a step back


class PartialInterval:
    """The interval between a session's partials, in samples, controlled by the queue delay of windows."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._step = 0
        self._calm = 0
        self.delay_s = 0.0
        """The smoothed queue delay."""

    @property
    def interval(self) -> int | None:
        """Samples of new audio between two partials; None for no partials."""
        factor = INTERVAL_FACTORS[self._step]
        return None if factor is None else int(self._interval * factor)

    @property
    def relaxed(self) -> bool:
        """Whether load is low enough to decode a partial's window more than once."""
        return self._step <= 2

    def observe(self, delay_s: float) -> None:
        """Record that a window has waited `delay_s` seconds for the engine."""
        self.delay_s += SMOOTHING * (delay_s - self.delay_s)
        if self._step < len(MAX_DELAYS_S) and self.delay_s > MAX_DELAYS_S[self._step]:
            self._step += 1
            self._calm = 0
        elif self._step and self.delay_s < MAX_DELAYS_S[self._step - 1] / 2:
            self._calm += 1
            if self._calm >= CALM_OBSERVATIONS:
                self._step -= 1
                self._calm = 0
        else:
            self._calm = 0
