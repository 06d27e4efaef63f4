"""Durations that add up across processes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlando.latencies import Latencies, merge, quantile


@given(st.lists(st.floats(0.0002, 60), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_off_by_a_tenth_at_most(durations, q):
    latencies = Latencies(lambda: 0.0)
    for duration in durations:
        latencies.observe("stage", duration)
    exact = sorted(durations)[max(0, -int(-q * len(durations) // 1) - 1)]
    found = quantile(latencies.report()["stage"], q)
    assert exact * 0.999 <= found <= exact * 1.11


def test_two_processes_are_as_one():
    chance = random.Random(1)
    both, one, two = Latencies(lambda: 0.0), Latencies(lambda: 0.0), Latencies(lambda: 0.0)
    for _ in range(500):
        duration, each = chance.expovariate(10), chance.choice([one, two])
        both.observe("stage", duration)
        each.observe("stage", duration)
    assert merge([one.report(), two.report()]) == merge([both.report()])


def test_what_is_a_minute_old_is_forgotten():
    time = [0.0]
    latencies = Latencies(lambda: time[0])
    latencies.observe("stage", 1.0)
    time[0] = 55.0
    latencies.observe("stage", 3.0)
    assert sum(latencies.report()["stage"].values()) == 2
    time[0] = 65.0
    assert quantile(latencies.report()["stage"], 0.5) == pytest.approx(3, rel=0.1)
    time[0] = 200.0
    assert latencies.report() == {}


def test_nothing_has_no_quantile():
    assert quantile({}, 0.5) is None
