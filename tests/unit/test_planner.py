"""Chunks of a recording: at silences, within the engine's window, each sample in one of them."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_processor.chunking import LONG_CHUNKS, LONGEST, PADDING, SHORT_CHUNKS, ChunkPlanner, Pauses
from parlando.vad import FRAME

SECOND = 16_000


def plan(
    probabilities: list[float], *, pauses: Pauses = LONG_CHUNKS, block: int = 64, pcm=None, rest: int = 0
):
    """The chunks of a recording whose frames have these probabilities of speech."""
    if pcm is None:
        pcm = np.arange(len(probabilities) * FRAME + rest) % 3000
    pcm = pcm.astype(np.int16)
    planner, found = ChunkPlanner(pauses), []
    for at in range(0, len(probabilities), block):
        some = probabilities[at : at + block]
        found += planner.push(pcm[at * FRAME : (at + len(some)) * FRAME], np.array(some, np.float32))
    return found + planner.finish(pcm[len(probabilities) * FRAME :])


def frames(*stretches: tuple[float, float]) -> list[float]:
    """Probabilities of (seconds, probability) after one another."""
    return [p for length, p in stretches for _ in range(round(length * SECOND / FRAME))]


def test_silence_has_no_chunks():
    assert plan(frames((120, 0.0))) == []
    assert plan([]) == []
    assert plan([], rest=100) == []


def test_a_short_recording_is_one_chunk_without_the_silence_around_it():
    (piece,) = plan(frames((3, 0), (2, 0.9), (0.5, 0), (3, 0.9), (2, 0)))
    assert piece.span_start == 0
    assert abs(piece.start - (3 * SECOND - PADDING)) <= FRAME
    assert abs(piece.start + len(piece.pcm) - (8.5 * SECOND + PADDING)) <= 2 * FRAME
    assert [round((end - start) / SECOND) for start, end in piece.speech] == [2, 3]


def test_a_long_silence_ends_a_chunk():
    pieces = plan(frames((2, 0.9), (4, 0), (2, 0.9), (2, 0)))
    assert [len(piece.speech) for piece in pieces] == [1, 1]
    assert pieces[0].span_end == pieces[1].span_start


def test_eager_chunks_end_at_every_pause():
    probabilities = frames((4, 0.9), (0.7, 0), (4, 0.9), (0.7, 0), (4, 0.9), (1, 0))
    assert len(plan(probabilities)) == 1
    assert len(plan(probabilities, pauses=SHORT_CHUNKS)) == 3


def test_speech_without_end_is_cut_at_its_longest_pause():
    pieces = plan(frames((12, 0.9), (0.2, 0), (5, 0.9), (0.12, 0), (20, 0.9), (1, 0)))
    assert len(pieces) == 2
    assert abs(pieces[0].span_end - 12.1 * SECOND) < 2 * FRAME


def test_speech_without_a_pause_is_cut_in_its_quietest_place():
    probabilities = frames((60, 0.9), (1, 0))
    pcm = np.full(len(probabilities) * FRAME, 5000)
    pcm[25 * SECOND : 25 * SECOND + 800] = 10
    pieces = plan(probabilities, pcm=pcm)
    assert abs(pieces[0].span_end - 25 * SECOND) <= 800
    assert len(pieces) == 3
    assert all(len(piece.pcm) <= LONGEST for piece in pieces)


probability = st.sampled_from([0.0, 0.1, 0.4, 0.6, 0.95])
recordings = st.lists(st.tuples(st.integers(1, 400), probability), min_size=1, max_size=40).map(
    lambda runs: [p for count, p in runs for _ in range(count)]
)


@settings(deadline=None, max_examples=60)
@given(recordings, st.sampled_from([LONG_CHUNKS, SHORT_CHUNKS]), st.integers(0, FRAME - 1))
def test_turns_follow_without_gap_and_chunks_fit_the_window(probabilities, pauses, rest):
    pcm = np.random.default_rng(1).integers(-3000, 3000, len(probabilities) * FRAME + rest)
    pieces = plan(probabilities, pauses=pauses, pcm=pcm, rest=rest)
    turn = 0
    for piece in pieces:
        assert piece.span_start == turn
        turn = piece.span_end
        assert 0 < len(piece.pcm) <= LONGEST
        assert piece.span_start <= piece.start
        assert piece.start + len(piece.pcm) <= piece.span_end
        assert (piece.pcm == pcm[piece.start : piece.start + len(piece.pcm)]).all()
        assert piece.speech
        for start, end in piece.speech:
            assert piece.start <= start < end <= piece.start + len(piece.pcm)
    assert turn <= len(pcm)
    said = sum(end - start for piece in pieces for start, end in piece.speech) // FRAME
    sure = sum(a >= 0.5 and b >= 0.5 for a, b in pairwise(probabilities))
    assert said >= sure - len(pieces)  # speech is in a chunk, except what a cut rounds away


@settings(deadline=None, max_examples=20)
@given(recordings, st.integers(1, 50))
def test_the_pieces_in_which_audio_comes_change_nothing(probabilities, block):
    whole, sliced = plan(probabilities), plan(probabilities, block=block)
    assert [(p.start, p.span_end, p.speech, p.pcm.tobytes()) for p in whole] == [
        (p.start, p.span_end, p.speech, p.pcm.tobytes()) for p in sliced
    ]
