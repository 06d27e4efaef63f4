"""What the Python client keeps to say it again: audio until it is settled, controls until they are obeyed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from parlando.client.unsettled import Unsettled
from parlando.domain.audio import Encoding
from parlando.domain.formats import SETTLED_STEP, AudioFormat
from parlando.vad import FRAME

FLUSH, END = {"type": "flush"}, {"type": "end"}


def frame(start: int, size: int) -> bytes:
    return bytes((start + n) % 251 for n in range(size))


def said(count: int, size: int, *, limit: int = 10**6, whole: bool = False) -> Unsettled:
    """`count` frames of `size` bytes, all sent."""
    unsettled = Unsettled(limit=limit, whole=whole)
    for number in range(count):
        unsettled.add(frame(number * size, size))
    taken(unsettled)
    return unsettled


def taken(unsettled: Unsettled) -> list[bytes | dict]:
    """What a connection is given."""
    messages = []
    while (message := unsettled.next()) is not None:
        messages.append(json.loads(message) if isinstance(message, str) else message)
    return messages


def audio(messages: list[bytes | dict]) -> bytes:
    return b"".join(message for message in messages if isinstance(message, bytes))


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 80), st.integers(0, 60)), max_size=40))
def test_a_new_connection_gets_exactly_what_is_not_stored(steps):
    unsettled, sent, stored, settled = Unsettled(limit=10**6), b"", 0, 0
    for size, more_stored, more_settled in steps:
        unsettled.add(frame(len(sent), size))
        sent += frame(len(sent), size)
        stored = min(len(sent), stored + more_stored)
        settled = min(stored, settled + more_settled)
        unsettled.acknowledge(stored, settled)
        unsettled.connected(stored)
        assert audio(taken(unsettled)) == sent[stored:]
        assert unsettled.again_from == settled
        assert unsettled.protected
        unsettled.connected(settled, anew=True)
        assert audio(taken(unsettled)) == sent[settled:]
        unsettled.acknowledge(stored, settled)
        assert unsettled.size <= len(sent) - settled + 50, "what is settled is kept no longer"


def test_controls_come_again_in_their_places():
    unsettled = Unsettled(limit=10**6)
    unsettled.add(b"aa")
    unsettled.control({"type": "config", "language": "de"})
    unsettled.add(b"bb")
    unsettled.control(FLUSH)
    unsettled.add(b"cc")
    unsettled.control(END)
    everything = [b"aa", {"type": "config", "language": "de"}, b"bb", FLUSH, b"cc", END]
    assert taken(unsettled) == everything

    for received, again in [(0, everything), (1, [b"a", *everything[1:]]), (3, [b"b", FLUSH, b"cc", END])]:
        unsettled.connected(received)
        assert taken(unsettled) == again
    unsettled.connected(4)  # the flush may not have arrived
    assert taken(unsettled) == [FLUSH, b"cc", END]
    unsettled.connected(5)  # it has: audio behind it is stored
    assert taken(unsettled) == [b"c", END]


def test_an_answered_flush_is_not_said_again_and_an_unanswered_one_is():
    unsettled = said(2, 2)
    unsettled.control(FLUSH)
    unsettled.acknowledge(4, 4)
    unsettled.connected(4, anew=True)
    assert taken(unsettled) == [FLUSH]
    unsettled.add(b"cc")
    taken(unsettled)
    unsettled.acknowledge(6, 6)
    unsettled.connected(6, anew=True)  # final and answer were lost together with the cluster's data
    assert taken(unsettled) == [FLUSH]
    unsettled.flushed()
    unsettled.connected(6, anew=True)
    assert taken(unsettled) == []


def test_a_session_opened_anew_has_the_config_of_its_beginning():
    unsettled = said(1, 4)
    unsettled.control({"type": "config", "language": "de", "words": True})
    unsettled.add(b"bbbb")
    unsettled.control({"type": "config", "language": None})
    taken(unsettled)
    unsettled.acknowledge(8, 8)
    assert unsettled.config == {"language": "de", "words": True}
    unsettled.connected(8, anew=True)
    assert taken(unsettled) == [{"type": "config", "language": None}]


def test_too_much_that_is_not_settled_is_let_go_and_said():
    unsettled = said(10, 10, limit=40)
    unsettled.acknowledge(50, 0)
    assert unsettled.size == 50, "what isn't stored is never let go"
    assert unsettled.again_from == unsettled.missing == 50
    assert not unsettled.protected
    unsettled.acknowledge(100, 20)
    assert (unsettled.size, unsettled.missing) == (40, 40)
    unsettled.acknowledge(100, 70)
    assert unsettled.protected
    assert unsettled.again_from == 70


def test_a_container_is_kept_whole_or_not_at_all():
    unsettled = said(10, 10, limit=100, whole=True)
    unsettled.acknowledge(100, 0)
    assert unsettled.again_from == 0
    unsettled.connected(0, anew=True)
    assert len(audio(taken(unsettled))) == 100
    unsettled.add(b"x")
    unsettled.acknowledge(100, 0)
    assert not unsettled.protected
    assert unsettled.again_from is None
    assert unsettled.size == 1, "what isn't stored is still needed"


def test_a_flush_without_an_answer_holds_no_audio():
    unsettled = Unsettled(limit=10)
    unsettled.control(FLUSH)
    for number in range(10):
        unsettled.add(frame(number * 10, 10))
    unsettled.acknowledge(100, 0)
    assert unsettled.size == 10


@given(
    st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 12345]),
    st.integers(0, 10**8),
    st.sampled_from([encoding for encoding in Encoding if encoding is not Encoding.CONTAINER]),
)
def test_settled_positions_fall_between_samples_and_between_the_detectors_frames(rate, samples, encoding):
    form = AudioFormat(encoding=encoding, sample_rate=rate)
    position = form.settled(samples)
    assert position * 16_000 % rate == 0
    start = form.samples(position)
    assert start % SETTLED_STEP == 0
    assert start <= samples < start + SETTLED_STEP * 125
    assert SETTLED_STEP == FRAME
