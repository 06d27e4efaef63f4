"""How many sessions a worker takes."""

from transcriber.recognition.capacity import FINALS_SHARE, INITIAL_SESSIONS, MAX_SESSIONS, Capacity


def observed(*, cost: float, redecode: float = 0.0, seconds: int = 60) -> Capacity:
    capacity = Capacity()
    for _ in range(seconds):
        capacity.observe(4 * cost, 4.0, redecode_s=4 * cost * redecode)
    return capacity


def test_nothing_is_promised_before_anything_is_known():
    assert Capacity().sessions(0, delay_s=0.0, load=1.0) == INITIAL_SESSIONS
    assert observed(cost=0.02, seconds=2).sessions(0, delay_s=0.0, load=1.0) == INITIAL_SESSIONS


def test_the_cost_of_finals_says_how_many_fit():
    fit = int(FINALS_SHARE / 0.02)
    assert observed(cost=0.02).sessions(8, delay_s=0.0, load=1.0) in (fit - 1, fit)
    for cost, redecode in ((0.04, 1.0), (0.03, 2 / 3)):  # patient finals cost twice
        assert observed(cost=cost, redecode=redecode).sessions(8, delay_s=0.0, load=1.0) in (fit - 1, fit)
    assert observed(cost=3.0).sessions(1, delay_s=0.0, load=1.0) == 1, "a slow engine still takes one"
    assert observed(cost=0.0).sessions(1, delay_s=0.0, load=1.0) == MAX_SESSIONS, "silence costs nothing"


def test_a_number_that_was_given_holds():
    capacity = Capacity(7)
    capacity.observe(100.0, 100.0, redecode_s=0.0)
    assert capacity.sessions(7, delay_s=5.0, load=1.0) == 7


def test_nobody_more_is_taken_while_finals_wait():
    assert observed(cost=0.001).sessions(8, delay_s=0.9, load=1.0) == 8
    assert observed(cost=0.001).sessions(8, delay_s=0.9, load=0.1) > 8, "that delay is an old one"


def test_what_was_long_ago_is_forgotten():
    capacity = observed(cost=0.1)
    for _ in range(400):
        capacity.observe(0.04, 4.0, redecode_s=0.0)
    assert capacity.sessions(8, delay_s=0.0, load=1.0) > 50
