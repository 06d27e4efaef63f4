"""Lengths of words."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlando.domain.word_spans import MIN_WORD_S, with_lengths

times = st.floats(0, 10, allow_nan=False)


def test_words_that_are_long_enough_stay_as_they_are():
    spans = [(0.1, 0.4), (0.4, 0.5), (0.9, 1.2)]
    assert with_lengths(spans, 0.0, 2.0) == spans


def test_a_word_without_length_takes_it_from_the_next_one():
    assert with_lengths([(0.5, 0.5), (0.5, 0.9)], 0.0, 1.0) == [(0.5, 0.52), (0.52, 0.9)]


def test_words_behind_the_end_are_moved_before_it():
    assert with_lengths([(0.2, 0.9), (1.5, 1.6)], 0.0, 1.0) == [(0.2, 0.9), (0.98, 1.0)]


@given(st.lists(st.tuples(times, times), max_size=30), times)
def test_any_words_increase_and_lie_in_the_segment(spans, last):
    found = with_lengths(spans, 0.0, last)

    assert len(found) == len(spans)
    assert all(0 <= start <= end <= last + 0.001 for start, end in found)
    assert all(before[1] <= after[0] + 0.001 for before, after in pairwise(found))
    if spans and last / len(spans) > MIN_WORD_S:
        assert all(
            end - start == pytest.approx(MIN_WORD_S, abs=0.002) or end - start > MIN_WORD_S
            for start, end in found
        )
