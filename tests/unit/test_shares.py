"""Fair shares of places."""

from hypothesis import given
from hypothesis import strategies as st

from parlando.domain.shares import Standing, fair_shares

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20), max_size=6)


@given(COUNTS, COUNTS, st.integers(0, 60))
def test_shares_are_max_min_fair(demand, held, places):
    shares = fair_shares(demand, places, held)

    assert sum(shares.values()) == min(places, sum(demand.values())), "no wanted place stays free"
    assert all(shares[owner] <= demand[owner] for owner in demand)
    for owner in demand:
        if shares[owner] < demand[owner]:
            assert max(shares.values()) <= shares[owner] + 1, "no less than others"


def test_places_that_can_not_be_divided_stay_with_those_who_hold_them():
    assert fair_shares({"a": 9, "b": 9, "c": 9}, 13, {"c": 5}) == {"a": 4, "b": 4, "c": 5}
    assert fair_shares({"a": 9, "b": 9}, 3, {}) == {"a": 2, "b": 1}


def test_what_an_owner_does_not_use_is_lent():
    assert fair_shares({"a": 1, "b": 20, "c": 20}, 12, {}) == {"a": 1, "b": 6, "c": 5}


def test_who_lends_and_who_waits():
    standing = Standing(12, {"a": 9, "b": 3}, {"c": 2, "a": 4})

    assert standing.shares() == {"a": 7, "b": 3, "c": 2}
    assert standing.lent() == {"a": 2}
    assert standing.owed() == {"c": 2}
    assert standing.limit("a") == 7
    assert standing.limit("b") == 4, "below its equal share it may have one more"
    assert standing.free == 0
