"""OpenAI's Realtime protocol: messages to commands, events to messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.doors.openai_conversation import MAX_FLUSHES
from api_gateway.doors.openai_realtime import CLAIM, OpenAIRealtime
from api_gateway.presenters.openai_session import RealtimeSession, beta_changes, ga_changes
from parlando.domain.commands import Configure, Flush
from parlando.domain.events import Closed, Failure, Status
from parlando.domain.transcript import TimedWord
from parlando.errors import AtCapacityError, NotAllowedError, ParlandoError
from support.openai_realtime import FLUSHED, MANUAL, TRANSCRIPTION, Client, final, kinds, partial, started

# --- turn detection -----------------------------------------------------------------------------------


def test_a_turn_of_the_servers_detection_is_an_item():
    client = Client()
    client.append(3000)
    heard = client.hears(
        started(0, 1.0), partial(0, "Ask not", " what"), final(0, "Ask not, what.", 1.0, 2.0, language="en")
    )
    assert kinds(heard) == [
        "….speech_started",
        "….delta",
        "….delta",
        "….speech_stopped",
        "….committed",
        "conversation.item.added",
        "conversation.item.done",
        "….completed",
    ]
    [item] = {message.get("item_id") or message["item"]["id"] for message in heard}
    assert heard[0]["audio_start_ms"] == 700, "the speech, less the padding"
    assert heard[3]["audio_end_ms"] == 2500, "the speech, and the silence that ended it"
    assert client.deltas == {item: "Ask not, what."} == client.transcripts
    assert heard[4]["previous_item_id"] is None
    assert heard[-1]["usage"] == {"type": "duration", "seconds": 1.8}
    assert heard[-1]["content_index"] == 0
    assert heard[-1]["languages"] == [{"code": "en"}]
    assert len({message["event_id"] for message in client.sent}) == len(client.sent)

    later = client.hears(started(1, 2.6), final(1, "Two.", 2.6, 2.9))
    assert later[0]["audio_start_ms"] == 2500, "never before the end of the item before"
    assert [m["previous_item_id"] for m in later if "previous_item_id" in m] == [item] * 3
    assert later[2]["audio_end_ms"] == 3000, "never after the audio"


def test_noise_without_words_is_an_item_only_if_its_start_was_told():
    client = Client()
    client.append(2000)
    assert client.hears(final(0, "", reason="no_speech")) == []
    client.hears(started(1, 1.0), final(1, "", reason="no_speech"))
    assert list(client.transcripts.values()) == [""]


def test_a_repeated_start_and_partial_after_a_takeover_change_nothing():
    client = Client()
    client.append()
    client.hears(started(0, 0.1), partial(0, "one two"))
    assert client.hears(started(0, 0.1), partial(0, "one two"), partial(0, "one")) == []
    client.hears(final(0, "one two three"))
    assert list(client.transcripts.values()) == ["one two three"]


def test_a_commit_during_a_turn_ends_it():
    client = Client()
    client.append(2000)
    client.hears(started(0, 0.2), partial(0, "one"))
    assert client.commit() == [Flush()]
    client.append(1000)
    client.hears(final(0, "one two", 0.2, 1.9), FLUSHED)
    [item] = client.transcripts
    assert [m["item_id"] for m in client.of("input_audio_buffer.committed")] == [item]
    assert client.deltas == client.transcripts == {item: "one two"}
    assert client.of("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] == 2000, "where it was committed"


def test_turns_before_a_commit_are_items_however_late_they_are_heard():
    early, late = Client(), Client()
    for client, commits_first in ((early, False), (late, True)):
        client.append(5000)
        if commits_first:
            client.commit()
        client.hears(started(0, 0.2), final(0, "one", 0.2, 1.0), started(1, 2.0), final(1, "two", 2.0, 3.0))
        if not commits_first:
            client.commit()
        client.hears(FLUSHED)
    assert list(early.transcripts.values()) == ["one", "two", ""], "the silence at the end is an item too"
    assert late.transcripts == early.transcripts
    assert kinds(late.sent) == kinds(early.sent)


def test_a_commit_of_silence_is_an_empty_item():
    client = Client()
    client.append()
    client.commit()
    client.hears(FLUSHED)
    assert list(client.transcripts.values()) == [""]


def test_a_commit_behind_the_last_turn_is_an_error_if_nothing_is_left():
    client = Client()
    client.append(1500)
    client.commit()
    client.commit()
    client.hears(started(0, 0.2), final(0, "one", 0.2, 1.0), FLUSHED)
    assert not client.of("error")
    assert client.hears(FLUSHED)[0]["error"]["code"] == "input_audio_buffer_commit_empty"
    assert list(client.transcripts.values()) == ["one"]


def test_a_clear_leaves_the_turns_that_had_ended_before_it():
    client = Client()
    client.append(5000)
    client.hears(started(0, 0.2))
    client.say({"type": "input_audio_buffer.clear"})
    client.append(2000)
    heard = client.hears(
        partial(0, "one"), final(0, "one", 0.2, 1.0), started(1, 4.0), final(1, "two", 4.0, 4.8), FLUSHED
    )
    assert "one" in client.transcripts.values()
    assert len(client.transcripts) == 1
    assert kinds(heard).count("….speech_started") == 0, "it was told already"
    client.hears(started(2, 5.1), final(2, "three", 5.1, 6.0))
    assert client.of("input_audio_buffer.speech_started")[-1]["audio_start_ms"] == 5000


# --- segments by commit -------------------------------------------------------------------------------


def test_without_turn_detection_everything_up_to_the_commit_is_an_item():
    client = Client()
    assert client.say(MANUAL) == [Configure(changes={"vad_silence_ms": None})]
    client.append(2000)
    client.hears(started(0, 0.1), partial(0, "One"), final(0, "One.", language="en"))
    client.hears(partial(1, "Two", " t"))
    assert client.commit() == [Flush()]
    assert kinds(client.sent[-3:]) == ["….committed", "conversation.item.added", "conversation.item.done"]
    client.append(1000)
    client.commit()
    client.hears(final(1, "Two."), FLUSHED, started(2, 2.2), final(2, "Three."), FLUSHED)
    first, second = client.transcripts
    assert client.transcripts == {first: "One. Two.", second: "Three."} == client.deltas
    assert [m["previous_item_id"] for m in client.of("input_audio_buffer.committed")] == [None, first]
    assert [m["usage"]["seconds"] for m in client.of(f"{TRANSCRIPTION}.completed")] == [2.0, 1.0]
    assert not client.of("input_audio_buffer.speech_started")


@pytest.mark.parametrize(("language", "joined"), [("ja", "一二"), ("en", "一 二")])
def test_segments_of_an_item_are_joined_as_their_language_is_written(language, joined):
    client = Client()
    client.say(MANUAL)
    client.append()
    client.hears(final(0, "一", language=language), final(1, "二", language=language))
    client.commit()
    client.hears(FLUSHED)
    assert list(client.transcripts.values()) == [joined] == list(client.deltas.values())


def test_cleared_audio_has_no_item():
    client = Client()
    client.say(MANUAL)
    client.append()
    client.hears(partial(0, "wrong"))
    assert client.say({"type": "input_audio_buffer.clear"}) == [Flush()]
    assert client.sent[-1]["type"] == "input_audio_buffer.cleared"
    client.append()
    client.commit()
    assert client.hears(started(0, 0.1), final(0, "wrong words"), FLUSHED) == []
    client.hears(final(1, "Right."), FLUSHED)
    assert list(client.transcripts.values()) == ["Right."]


def test_clearing_an_empty_buffer_flushes_nothing():
    client = Client()
    assert client.say({"type": "input_audio_buffer.clear"}) == []
    assert client.sent[-1]["type"] == "input_audio_buffer.cleared"


def test_a_commit_of_too_little_is_an_error_as_openai_words_it():
    client = Client()
    client.append(60)
    assert client.commit() == []
    error = client.sent[-1]["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "input_audio_buffer_commit_empty")
    assert error["message"].endswith("at least 100ms of audio, but buffer only has 60.00ms of audio.")


def test_the_number_of_waiting_commits_is_limited():
    client = Client()
    for _ in range(MAX_FLUSHES):
        client.append(100)
        client.commit()
    client.append(100)
    assert client.commit() == []
    assert client.sent[-1]["error"]["code"] == "rate_limit_exceeded"


words_of = st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=5), max_size=8)


@given(segments=st.lists(words_of, max_size=5), manual=st.booleans(), data=st.data())
def test_the_deltas_of_an_item_joined_are_always_its_transcript(segments, manual, data):
    client = Client()
    if manual:
        client.say(MANUAL)
    said = []
    for number, words in enumerate(segments):
        client.append(1000)
        client.hears(started(number, number + 0.1))
        stable = 0
        for _ in range(data.draw(st.integers(0, 3))):
            stable = data.draw(st.integers(stable, len(words)))
            client.hears(partial(number, " ".join(words[:stable]), " misheard"))
        committed = data.draw(st.booleans())
        if committed:
            client.commit()
        client.hears(final(number, " ".join(words), number + 0.1, number + 0.9))
        if committed:
            client.hears(FLUSHED)
        said += words
    client.append()
    client.commit()
    client.hears(FLUSHED)

    order = [message["item_id"] for message in client.of("input_audio_buffer.committed")]
    assert list(client.transcripts) == order
    assert " ".join(filter(None, client.transcripts.values())).split() == said
    assert {item: client.deltas.get(item, "") for item in order} == client.transcripts
    previous = [message["previous_item_id"] for message in client.of("input_audio_buffer.committed")]
    assert previous == [None, *order[:-1]]


# --- the beta's shape -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"openai_beta": "realtime=v1"},
        {"sec_websocket_protocol": "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1"},
    ],
)
def test_the_beta_has_flat_sessions_and_created_items(headers):
    client = Client(**headers)
    assert client.sent[0]["type"] == "transcription_session.created"
    assert client.sent[0]["session"]["input_audio_format"] == "pcm16"
    client.say(
        {
            "type": "transcription_session.update",
            "session": {
                "input_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1", "language": ""},
                "turn_detection": None,
            },
        }
    )
    shown = client.sent[-1]
    assert shown["type"] == "transcription_session.updated"
    assert shown["session"]["turn_detection"] is None
    assert shown["session"]["input_audio_format"] == "g711_ulaw"
    client.append(rate=4000)
    client.commit()
    assert kinds(client.sent[-2:]) == ["….committed", "conversation.item.created"]
    assert client.sent[-1]["item"]["object"] == "realtime.item"


# --- keys, secrets, the end -----------------------------------------------------------------------------


def test_the_key_is_in_a_header_or_subprotocol():
    assert Client(authorization="Bearer abc").door.key == "abc"
    assert Client(sec_websocket_protocol="realtime, openai-insecure-api-key.ek_x.y").door.key == "ek_x.y"
    assert OpenAIRealtime.subprotocol == "realtime"


@pytest.mark.parametrize(
    "session",
    [
        RealtimeSession.default(),
        RealtimeSession.default("gpt-9").changed(
            ga_changes(
                {
                    "audio": {
                        "input": {
                            "turn_detection": None,
                            "format": {"type": "audio/pcma"},
                            "noise_reduction": {"type": "far_field"},
                            "transcription": {"languages": ["de", "en"]},
                        }
                    },
                    "include": ["item.input_audio_transcription.logprobs"],
                }
            )
        ),
        RealtimeSession.default().changed(beta_changes({"turn_detection": {"type": "semantic_vad"}})),
    ],
)
def test_a_client_secret_carries_the_session(session):
    claims = json.loads(json.dumps({CLAIM: session.claims()}))
    client = Client(claims=claims)
    assert client.door.first_message_s == 0
    assert client.request.format == session.audio_format
    assert client.request.config.model_dump(include=set(session.config)) == session.config


def test_refusals_say_why_and_have_openais_codes():
    refused = Client().door.refusal(NotAllowedError("Expected a key"))
    assert (refused.code, refused.reason) == (3000, "invalid_request_error.invalid_api_key")
    assert json.loads(refused.messages[0])["error"]["code"] == "invalid_api_key"
    full = Client().door.refusal(AtCapacityError("full"))
    assert (full.code, full.reason) == (1013, "rate_limit_error.rate_limit_exceeded")
    assert Client().door.refusal(ParlandoError("bug")).code == 1011


def test_items_that_will_get_no_transcript_fail():
    client = Client()
    client.append()
    client.hears(started(0, 0.1))
    ended = client.hears(
        Status(session_id="s", status="lost", ms=500, reason="engine_failed"),
        Failure(session_id="s", code="invalid_audio", message="no audio"),
        Closed(session_id="s", duration=1, segments=0, reason="invalid_audio"),
    )
    assert [message["error"]["code"] for message in ended] == ["audio_lost", "invalid_audio", "invalid_audio"]
    assert ended[-1]["type"] == f"{TRANSCRIPTION}.failed"


def test_log_probabilities_have_the_transcripts_text():
    client = Client()
    client.say(
        {"type": "session.update", "session": {"include": ["item.input_audio_transcription.logprobs"]}}
    )
    client.say(MANUAL)
    client.append()
    word = {"start": 0.0, "end": 0.1}
    client.hears(
        partial(0, "Ask"),
        final(
            0,
            "Ask not.",
            words=[TimedWord(word="Ask", confidence=0.5, **word), TimedWord(word="not.", **word)],
        ),
        final(1, "Two", words=[TimedWord(word="Two", confidence=1.0, **word)]),
    )
    client.commit()
    [completed] = client.hears(FLUSHED)
    tokens = completed["logprobs"]
    assert "".join(token["token"] for token in tokens) == completed["transcript"] == "Ask not. Two"
    assert tokens[0]["logprob"] == pytest.approx(-0.693147)
    assert bytes(tokens[1]["bytes"]).decode() == tokens[1]["token"] == " not."


def test_speakers_are_told_by_segment():
    client = Client()
    client.append()
    heard = client.hears(started(0, 0.1), final(0, "Hi.", 0.2, 0.4, speaker="SPEAKER_01"))
    [segment] = [message for message in heard if message["type"] == f"{TRANSCRIPTION}.segment"]
    assert (segment["speaker"], segment["text"], segment["start"]) == ("B", "Hi.", 0.2)
