"""Every row of docs/formats.md is true: the format is encoded, and decoded or refused as a file and live."""

import numpy as np
import pytest

from parlando.errors import InvalidAudioError
from support.ffmpegs import INSTALLED, ffmpeg_of
from support.formats import PAGE, REFUSED, ROWS, SECONDS, Refused, Row, encoded, likeness, page
from support.taken import decoded, live


@pytest.fixture(scope="module")
def program():
    return ffmpeg_of(INSTALLED)


def _is_the_speech(samples: np.ndarray) -> bool:
    return abs(len(samples) / 16_000 - SECONDS) < 0.15 and likeness(samples) > 0.7


def test_the_table_of_formats_is_the_one_that_is_tested():
    assert PAGE.read_text() == page(), "run `python -m support.formats` in tests/"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_format_of_the_table_is_decoded(program, row: Row):
    data = encoded(row)
    samples, _ = await decoded(program, data)
    try:
        heard = np.frombuffer((await live(program, data)).pcm, "<i2")
    except InvalidAudioError:
        heard = np.zeros(0, np.int16)

    assert _is_the_speech(samples[:, 0])
    assert _is_the_speech(heard) is row.live


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.format)
async def test_a_format_that_is_not_taken_is_refused_with_its_reason(program, row: Refused):
    data = encoded(row)
    for take in (decoded, live):
        with pytest.raises(InvalidAudioError) as refused:
            await take(program, data)
        assert refused.value.message.endswith(f" {row.error}")
