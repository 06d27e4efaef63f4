"""The order of windows, the interval of partials and the capacity: pure parts of the scheduler."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcriber.recognition.cadence import LEAST, MOST, TARGET_LOAD, Cadence
from transcriber.recognition.capacity import (
    FULL_INTERVAL_S,
    INITIAL_SESSIONS,
    MAX_SESSIONS,
    OVERLOADED_BEATS,
    Capacity,
    Spent,
)
from transcriber.recognition.deadlines import Costs, Lane, Waiting

AUDIO_S = 4.0


def waiting(cost_s: float = 0.1) -> Waiting[str]:
    """A queue in which every window of `AUDIO_S` costs `cost_s`."""
    costs = Costs()
    for lane in Lane:
        costs.observe(lane, AUDIO_S, cost_s)
    return Waiting(costs)


def order(queue: Waiting[str], now: float = 0.0, *, redecode: bool = True) -> tuple[list[str], list[str]]:
    """The windows in the order of decoding, if the clock stands still, and those that were dropped."""
    taken, dropped = [], []
    while (item := queue.next(now, redecode=redecode, drop=dropped.append)) is not None:
        taken.append(item)
    assert len(queue) == 0
    return taken, dropped


def test_the_earliest_deadline_is_first_whatever_the_lane():
    queue = waiting()
    for name, lane, deadline in (
        ("partial", Lane.PARTIAL, 0.6),
        ("final", Lane.FINAL, 0.3),
        ("first", Lane.FIRST_PARTIAL, 0.1),
        ("late partial", Lane.PARTIAL, -0.5),
    ):
        queue.add(name, lane, deadline, AUDIO_S)
    assert queue.has(Lane.FINAL)
    assert order(queue) == (["late partial", "first", "final", "partial"], [])


@given(st.lists(st.tuples(st.sampled_from([Lane.FIRST_PARTIAL, Lane.FINAL, Lane.PARTIAL]), st.floats(0, 9))))
def test_every_window_is_decoded_once_and_none_before_one_with_an_earlier_deadline(windows):
    queue: Waiting[int] = waiting()
    for number, (lane, deadline) in enumerate(windows):
        queue.add(number, lane, deadline, AUDIO_S)
    taken, dropped = order(queue)
    assert sorted(taken) == list(range(len(windows)))
    assert not dropped
    deadlines = [windows[number][1] for number in taken]
    assert deadlines == sorted(deadlines)


def test_a_window_that_only_improves_a_result_is_decoded_if_all_are_in_time():
    queue = waiting()
    queue.add("again", Lane.REDECODE, 0.25, AUDIO_S)
    queue.add("partial", Lane.PARTIAL, 0.3, AUDIO_S)
    assert order(queue) == (["again", "partial"], [])


@pytest.mark.parametrize(
    ("deadline", "others", "redecode"),
    [
        (0.05, [], True),  # it would itself be late
        (0.2, [0.25, 0.26], True),  # the second of the others would be late
        (0.2, [], False),  # partials are too rare already
    ],
)
def test_it_is_dropped_if_there_is_no_time_for_it(deadline, others, redecode):
    queue = waiting()
    queue.add("again", Lane.REDECODE, deadline, AUDIO_S)
    for number, each in enumerate(others):
        queue.add(str(number), Lane.PARTIAL, each, AUDIO_S)
    assert order(queue, redecode=redecode) == ([str(n) for n in range(len(others))], ["again"])


def test_one_that_expires_after_its_deadline_is_decoded_in_its_turn_though_others_will_be_late():
    queue = waiting()
    queue.add("first", Lane.FIRST_PARTIAL, 0.1, AUDIO_S)
    queue.add("again", Lane.REDECODE, 0.12, AUDIO_S, expires=0.9)
    queue.add("partial", Lane.PARTIAL, 0.15, AUDIO_S)
    assert order(queue) == (["first", "again", "partial"], [])


@pytest.mark.parametrize(("now", "decoded"), [(0.75, ["again"]), (0.85, [])])
def test_it_is_dropped_when_it_would_end_after_it_expires(now, decoded):
    queue = waiting()
    queue.add("again", Lane.REDECODE, 0.2, AUDIO_S, expires=0.9)
    taken, dropped = order(queue, now)
    assert (taken, len(dropped)) == (decoded, 1 - len(decoded))


def test_one_that_became_too_late_behind_others_is_dropped_at_once():
    queue, dropped = waiting(), []
    queue.add("again", Lane.REDECODE, 1.0, AUDIO_S)
    queue.add("partial", Lane.PARTIAL, 0.5, AUDIO_S)
    assert queue.next(0.95, redecode=True, drop=dropped.append) == "partial"
    assert dropped == ["again"]


def test_a_cancelled_window_takes_no_time():
    queue = waiting()
    queue.add("cancelled", Lane.PARTIAL, 0.1, AUDIO_S)
    queue.add("again", Lane.REDECODE, 0.15, AUDIO_S)
    queue.discard("cancelled")
    assert order(queue) == (["again"], [])


def test_costs_follow_the_length_and_what_was_measured():
    costs = Costs()
    assert costs.predict(Lane.PARTIAL, 4.0) == 0.0, "nothing is known yet"
    costs.observe(Lane.FINAL, 4.0, 0.1)
    assert costs.predict(Lane.FINAL, 9.0) == pytest.approx(0.2)
    assert costs.predict(Lane.REDECODE, 9.0) == pytest.approx(0.2), "as a final, until one was measured"
    for _ in range(200):
        costs.observe(Lane.FINAL, 4.0, 0.2)
    assert costs.predict(Lane.FINAL, 4.0) == pytest.approx(0.2, rel=0.01)


def running(cadence: Cadence, share, seconds: float, step: float = 0.1, start: float = 0.0) -> float:
    """Let time pass with an engine busy for `share(interval)` of it. Returns the time."""
    now = start
    while now < start + seconds:
        now += step
        cadence.observe(step * min(1.0, share(cadence.interval)), now)
    return now


def test_partials_are_as_frequent_as_the_engine_has_time_for():
    cadence = Cadence(8000)
    assert cadence.interval == LEAST * 8000
    running(cadence, lambda interval: 0.3 + 3000 / interval, 60)
    assert cadence.load == pytest.approx(TARGET_LOAD, abs=0.03)
    assert cadence.interval == pytest.approx(3000 / (TARGET_LOAD - 0.3), rel=0.1)


def test_decodes_that_take_longer_than_an_observation_count_in_full():
    cadence = Cadence(8000)
    for tenth in range(600):  # a decode of 0.5 s ends every 0.5 s
        cadence.observe(0.5 if tenth % 5 == 0 else 0.0, tenth / 10)
    assert cadence.load == pytest.approx(1.0, abs=0.3)
    assert cadence.interval > 0.9 * MOST * 8000


def test_the_interval_has_limits_and_recovers():
    cadence = Cadence(8000)
    now = running(cadence, lambda _: 1.0, 60)
    assert cadence.interval == MOST * 8000
    assert not cadence.allows_redecode
    assert not cadence.allows_context
    running(cadence, lambda _: 0.2, 60, start=now)
    assert cadence.interval == LEAST * 8000
    assert cadence.allows_redecode
    assert cadence.allows_context


def observed(
    capacity: Capacity,
    beats: int,
    *,
    needed=0.02,
    partial=0.02,
    interval=0.5,
    load=0.85,
    sessions=12,
    open_s=0,
):
    """Heartbeats of `sessions` sessions; costs are engine seconds per second of a session's audio.

    `open_s`: heartbeats, of a second each, before the first audio has a final.
    """
    for beat in range(beats):
        settled = sessions * (beat >= open_s)
        capacity.observe(
            Spent(
                finals=needed * settled,
                partials=partial * sessions,
                settled=settled,
                received=sessions,
            ),
            interval_s=interval,
            load=load,
        )
    return capacity


def test_the_initial_capacity_holds_until_costs_were_measured_under_load():
    capacity = Capacity()
    assert (capacity.sessions(0), capacity.reason) == (INITIAL_SESSIONS, "initial")
    observed(capacity, 1000, needed=0.001, partial=0.001, load=0.2)
    assert (capacity.sessions(3), capacity.reason) == (INITIAL_SESSIONS, "initial")


def test_the_capacity_is_what_fits_with_partials_at_their_longest_interval():
    capacity = observed(Capacity(), 600, needed=0.02, partial=0.02, interval=0.5)
    assert capacity.sessions(12) == round(TARGET_LOAD / (0.02 + 0.02 * 0.5 / FULL_INTERVAL_S))
    assert capacity.reason == "measured"
    assert observed(Capacity(), 2000, needed=3.0).sessions(1) == 1, "a slow engine still takes one"
    assert observed(Capacity(), 2000, needed=1e-6, partial=1e-6).sessions(1) == MAX_SESSIONS


def test_the_capacity_is_known_while_the_first_segments_are_open():
    """In the first seconds there are partials of all audio, and finals of a part of it."""
    exact = TARGET_LOAD / (0.02 + 0.02 * 0.5 / FULL_INTERVAL_S)
    capacity = observed(Capacity(), 25, open_s=12)
    assert abs(capacity.sessions(12) - exact) <= 1


def test_one_session_that_keeps_a_slow_engine_busy_is_enough_to_measure():
    capacity = observed(Capacity(), 1500, needed=0.7, partial=0.1, sessions=1)
    assert (capacity.sessions(1), capacity.reason) == (1, "measured")


def test_a_burst_does_not_lower_the_capacity_and_a_lasting_change_does():
    capacity = observed(Capacity(), 600)
    before = capacity.sessions(12)
    assert observed(capacity, 20, needed=0.2).sessions(12) >= 0.9 * before - 1
    assert observed(capacity, 600, needed=0.2).sessions(12) < 0.5 * before


def test_an_overloaded_worker_takes_no_more_sessions_than_it_has():
    capacity = observed(Capacity(), OVERLOADED_BEATS - 1, interval=2.0, needed=0.001, partial=0.001)
    assert capacity.sessions(8) >= INITIAL_SESSIONS, "a passing burst"
    observed(capacity, 1, interval=2.0, needed=0.001, partial=0.001)
    assert (capacity.sessions(8), capacity.reason) == (8, "overloaded")
    observed(capacity, 60, interval=0.3, needed=0.001, partial=0.001)
    assert capacity.sessions(8) > 8
    assert capacity.reason == "measured"


def test_a_configured_number_holds():
    capacity = observed(Capacity(7), 100, needed=3.0, interval=2.0)
    assert (capacity.sessions(7), capacity.reason) == (7, "configured")
