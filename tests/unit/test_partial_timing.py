"""When a segment's next partial is due."""

import pytest

from transcriber.pipeline.partial_timing import (
    EARLY_PARTIAL,
    EARLY_RETRY,
    FIRST_PARTIAL,
    RETRY_PARTIAL,
    partial_due,
)

ONSET, INTERVAL = 100_000, 16_000


def due(
    decoded: int, resumed: int | None = None, *, words: bool = True, hurried: bool = True
) -> tuple[int, bool]:
    return partial_due(ONSET, decoded, resumed, interval=INTERVAL, words=words, hurried=hurried)


@pytest.mark.parametrize(("hurried", "speech"), [(True, FIRST_PARTIAL), (False, EARLY_PARTIAL)])
def test_the_first_one_comes_after_enough_speech_and_is_urgent(hurried, speech):
    assert due(0, words=False, hurried=hurried) == (ONSET + speech, True)


@pytest.mark.parametrize(("hurried", "wait"), [(True, RETRY_PARTIAL), (False, EARLY_RETRY)])
def test_without_words_it_is_tried_again_soon(hurried, wait):
    assert due(ONSET + 6000, words=False, hurried=hurried) == (ONSET + 6000 + wait, True)


@pytest.mark.parametrize(
    ("spoken", "wait"), [(2000, FIRST_PARTIAL), (7000, 7000), (15_000, 15_000), (80_000, INTERVAL)]
)
def test_the_interval_grows_with_the_segment(spoken, wait):
    assert due(ONSET + spoken) == (ONSET + spoken + wait, False)


def test_after_a_pause_it_comes_as_soon_as_in_a_new_segment():
    resumed = ONSET + 50_000
    assert due(resumed - 1000, resumed) == (resumed + FIRST_PARTIAL, True)


def test_after_a_pause_it_comes_no_later_than_without():
    resumed = ONSET + 50_000
    assert due(ONSET + 34_000, resumed) == (ONSET + 34_000 + INTERVAL, True)
