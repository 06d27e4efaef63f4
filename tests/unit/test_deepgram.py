"""Deepgram's live protocol as a pure door: messages out, and channels."""

import hashlib

import numpy as np
import pytest

from api_gateway.doors.deepgram_multichannel import MultichannelListen, listen
from api_gateway.presenters import deepgram
from parlando.domain.events import Failure, Status
from parlando.domain.transcript import TimedWord
from support.deepgram_door import (
    RAW,
    closed,
    door,
    final,
    flushed,
    handshake,
    noticed,
    opened,
    partial,
    sent,
    silent_until,
    started,
)

# --- messages out -----------------------------------------------------------------------------------


def test_finals_cover_the_audio_and_interims_replace_each_other():
    protocol = door(f"{RAW}&interim_results=true&punctuate=true&vad_events=true")
    messages = sent(
        protocol,
        started(0, 0.5),
        partial(0, "Hello", 0.5, 0.9),
        partial(0, "Hello there", 0.5, 1.3),
        final(
            0,
            "Hello there.",
            0.5,
            1.4,
            1.9,
            confidence=0.8,
            words=[
                TimedWord(word="Hello", start=0.5, end=0.8, confidence=0.9),
                TimedWord(word="there.", start=0.8, end=1.4),
            ],
        ),
        started(1, 3.0),
        partial(1, "You", 3.0, 3.4),
        final(1, "You?", 3.0, 3.5, 4.0),
        closed(5.0),
    )
    assert messages[0] == {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.5}
    results = [message for message in messages if message["type"] == "Results"]
    at = 0.0
    for result in results:
        assert result["start"] == at
        if result["is_final"]:
            at = round(at + result["duration"], 4)
            assert result["speech_final"]
        else:
            assert not result["speech_final"]
    assert at == 5.0
    [first] = [r["channel"]["alternatives"][0] for r in results if r["is_final"]][:1]
    assert first["transcript"] == "Hello there."
    assert first["confidence"] == 0.8
    assert first["words"] == [
        {"word": "hello", "start": 0.5, "end": 0.8, "confidence": 0.9, "punctuated_word": "Hello"},
        {"word": "there", "start": 0.8, "end": 1.4, "confidence": 0.8, "punctuated_word": "there."},
    ]
    assert results[0]["metadata"]["model_info"] == {
        "name": "moonshine-tiny",
        "version": "1",
        "arch": "moonshine",
    }
    metadata = messages[-1]
    assert (metadata["type"], metadata["duration"], metadata["channels"]) == ("Metadata", 5.0, 1)
    assert metadata["created"] == "2025-11-24T16:00:00.000Z"


def test_without_punctuation_the_text_is_plain():
    [result] = sent(door(), final(0, "Well-known, isn't it? It's 3.5!", 0.0, 1.0, 1.0))
    assert result["channel"]["alternatives"][0]["transcript"] == "well-known isn't it it's 3.5"
    assert deepgram.written("你好，世界。", "zh", deepgram.Style(punctuated=False)) == "你好世界"


def test_a_finalize_is_answered_with_the_result_that_it_caused():
    protocol = door()
    protocol.read('{"type":"Finalize"}')
    assert sent(protocol, final(0, "before", 0.0, 0.9, 1.0)) == []  # perhaps its answer
    before, *rest = sent(protocol, final(1, "its own", 1.0, 1.9, 2.0))
    assert (before["from_finalize"], rest) == (False, [])
    [answer] = sent(protocol, flushed(2.0))
    assert (answer["from_finalize"], answer["speech_final"]) == (True, True)
    assert answer["channel"]["alternatives"][0]["transcript"] == "its own"
    protocol.read('{"type":"Finalize"}')
    [answer] = sent(protocol, flushed(2.5))  # in silence
    assert (answer["from_finalize"], answer["start"], answer["duration"]) == (True, 2.0, 0.5)
    assert sent(protocol, flushed(2.5)) == []  # not asked for


def test_a_final_is_never_held_back_for_good():
    protocol = door()
    protocol.read('{"type":"Finalize"}')
    assert sent(protocol, final(0, "kept", 0.0, 0.9, 1.0)) == []
    results = sent(protocol, closed(1.0))
    assert results[0]["channel"]["alternatives"][0]["transcript"] == "kept"


def test_a_cut_is_no_pause_until_silence_follows():
    protocol = door(f"{RAW}&interim_results=true")
    [cut] = sent(protocol, final(0, "and so on", 0.0, 8.0, 8.1, continues=True))
    assert (cut["is_final"], cut["speech_final"]) == (True, False)
    assert noticed(protocol, silent_until(8400)) == []
    [pause] = noticed(protocol, silent_until(9000))
    assert (pause["start"], pause["duration"], pause["speech_final"]) == (8.1, 0.9, True)
    assert noticed(protocol, silent_until(10_000)) == []


@pytest.mark.parametrize("how", ["time passes", "speech follows", "the end comes", "a flush is done"])
def test_utterance_end_comes_once_when_the_gap_is_certain(how):
    protocol = door(f"{RAW}&interim_results=true&utterance_end_ms=1000")
    sent(protocol, started(0, 0.1), final(0, "word", 0.1, 1.0, 1.5))
    assert noticed(protocol, silent_until(1900)) == []
    match how:
        case "time passes":
            messages = noticed(protocol, silent_until(2000), silent_until(9000))
        case "speech follows":
            messages = [*sent(protocol, started(1, 2.2)), *noticed(protocol, silent_until(2200))]
        case "the end comes":
            messages = sent(protocol, closed(2.5))
        case "a flush is done":
            messages = sent(protocol, flushed(2.1), closed(3.5))
    ends = [message for message in messages if message["type"] == "UtteranceEnd"]
    assert ends == [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.0}]


def test_no_utterance_ends_while_somebody_speaks():
    protocol = door(f"{RAW}&interim_results=true&utterance_end_ms=1000")
    sent(protocol, final(0, "word", 0.1, 1.0, 1.5), started(1, 1.6))
    assert noticed(protocol, silent_until(9000)) == []
    messages = sent(protocol, final(1, "", 1.6, 1.7, 2.0, reason="no_speech"), started(2, 2.4))
    assert "UtteranceEnd" in [message["type"] for message in messages]


def test_loss_and_failure_are_told():
    protocol = door()
    sent(protocol, Status(session_id="s", status="lost", ms=1200, reason="backlog"))
    [error] = sent(protocol, Failure(session_id="s", code="invalid_audio", message="can't be decoded"))
    assert (error["type"], error["variant"]) == ("Error", "DATA-0000")
    end = closed(0.5, "invalid_audio")
    [*_, metadata] = sent(protocol, end)
    assert metadata["warnings"][0]["message"] == "1200 ms were lost: backlog"
    assert (protocol.close_code(end), protocol.close_reason(end)) == (1008, "DATA-0000")


def test_speakers_and_languages_where_they_are_known():
    protocol = door("language=multi&diarize=true")
    [result] = sent(protocol, final(0, "Hallo du", 0.0, 1.0, 1.0, speaker="SPEAKER_02", language="de"))
    found = result["channel"]["alternatives"][0]
    assert found["languages"] == ["de"]
    assert [(word["speaker"], word["language"]) for word in found["words"]] == [(2, "de")] * 2


# --- channels ---------------------------------------------------------------------------------------


def test_several_channels_share_a_connection():
    protocol = listen(handshake(f"{RAW}&channels=2&multichannel=true"))
    assert isinstance(protocol, MultichannelListen)
    left, right = protocol.channels(None)
    ids = [channel.request(None).session_id for channel in (left, right)]
    assert ids[0].removesuffix(".0") == ids[1].removesuffix(".1")
    for channel in (left, right):
        opened(channel)
    data = np.arange(10, dtype="<i2").tobytes()
    parts: dict[int, bytes] = {0: b"", 1: b""}
    for piece in (data[:3], data[3:4], data[4:15], data[15:]):
        for index, part in protocol.split(piece):
            parts[index] += part
    assert np.frombuffer(parts[0], "<i2").tolist() == [0, 2, 4, 6, 8]
    assert np.frombuffer(parts[1], "<i2").tolist() == [1, 3, 5, 7, 9]
    assert protocol.split('{"type":"Finalize","channel":1}') == [(1, '{"type":"Finalize","channel":1}')]
    assert protocol.idle_s == 10
    assert [index for index, _ in protocol.split('{"type":"CloseStream"}')] == [0, 1]
    assert protocol.idle_s is None, "the rest may take longer"
    assert protocol.split("{") == [(0, "{")]
    [result] = sent(right, final(0, "right", 0.0, 1.0, 1.0))
    assert result["channel_index"] == [1, 2]
    assert [message["type"] for message in sent(right, closed(1.0))] == []
    [metadata] = sent(left, closed(1.5))[-1:]
    assert (metadata["type"], metadata["channels"], metadata["duration"]) == ("Metadata", 2, 1.5)


def test_the_only_channel_of_several_is_hashed_once():
    protocol = listen(handshake(f"{RAW}&channels=1&multichannel=true"))
    [channel] = protocol.channels(None)
    opened(channel)
    for index, part in protocol.split(b"\0\1\2\3"):
        assert index == 0
        channel.read(part)
    [*_, metadata] = sent(channel, closed(1.0))
    assert metadata["sha256"] == hashlib.sha256(b"\0\1\2\3").hexdigest()


def test_the_channels_of_a_container_are_found_by_the_audio_processor():
    protocol = listen(handshake("channels=2&multichannel=true"))
    left, right = protocol.channels(None)
    assert [channel.request(None).format.channel for channel in (left, right)] == [0, 1]
    assert protocol.split(b"OggS") == [(0, b"OggS"), (1, b"OggS")]
