"""Slots are shared among owners and destinations; policies say when a delivery is tried again."""

import pytest

from parlando.store.delivery_worker import Policy
from parlando.store.slots import MAX_FAILING, DeliveryLane, Slots

POLICY = Policy(delays_s=(1, 10, 60), attempts=5, age_s=1000, attempt_s=10)


def test_a_lane_is_named_without_its_plain_text():
    owner, destination = DeliveryLane("0f" * 32, "hooks.example.org").names
    assert int(owner, 16) != int(destination, 16)
    assert len(owner) == len(destination) == 16
    assert DeliveryLane("", "").names != DeliveryLane("", "x").names


def test_slots_are_counted_by_owner_and_destination():
    slots = Slots(16)
    slots.begin("a:x")
    slots.begin("a:y")
    slots.begin("b:y")
    assert slots.free == 13
    assert slots.in_use()["owners"] == {"a": 2, "b": 1}
    assert slots.in_use()["destinations"] == {"x": 1, "y": 2}
    slots.end("a:x", failed=False)
    assert slots.free == 14
    assert slots.in_use()["destinations"] == {"y": 2}


def test_a_destination_fails_until_an_attempt_succeeds():
    slots = Slots(16)
    slots.begin("a:x")
    slots.end("a:x", failed=True)
    slots.begin("a:x")
    assert slots.in_use()["failing"] == {"x": 1}
    assert slots.in_use()["failing_slots"] == 1
    slots.end("a:x", failed=False)
    assert slots.in_use()["failing"] == {}


def test_only_the_newest_failing_destinations_are_remembered():
    slots = Slots(16)
    for number in range(MAX_FAILING + 10):
        slots.begin(f"a:{number}")
        slots.end(f"a:{number}", failed=True)
    assert len(slots.in_use()["failing"]) == MAX_FAILING
    assert "0" not in slots.in_use()["failing"]


@pytest.mark.parametrize(("attempt", "base"), [(1, 1), (2, 10), (3, 60), (4, 60)])
def test_delays_grow_and_vary(attempt, base):
    assert POLICY.delay_s(attempt, 0.0) == pytest.approx(0.8 * base)
    assert POLICY.delay_s(attempt, 0.5) == pytest.approx(base)
    assert POLICY.delay_s(attempt, 1.0) == pytest.approx(1.2 * base)


def test_attempts_and_age_are_bounded():
    assert not POLICY.is_exhausted(4, age_s=999)
    assert POLICY.is_exhausted(5, age_s=0)
    assert POLICY.is_exhausted(1, age_s=1000)
