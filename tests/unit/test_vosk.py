"""vosk-server's protocol: messages to commands, events to messages."""

import orjson
import pytest

from api_gateway.doors.base import Ack, Audio, MessageError
from api_gateway.doors.vosk import Vosk
from api_gateway.handshake import Handshake
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.events import Flushed
from parlando.domain.transcript import TimedWord
from parlando.errors import AtCapacityError, InvalidRequestError
from support.events import closed, final, only, partial


def door(**query: str) -> Vosk:
    return Vosk(Handshake(query=query))


def said(messages):
    return [orjson.loads(message) for message in messages]


def stored(index: int | None) -> Ack:
    return Ack({"received": 1}, 0, 0, index)


def words(*texts: str) -> list[TimedWord]:
    return [TimedWord(word=text, start=n, end=n + 0.5, confidence=0.9) for n, text in enumerate(texts)]


def test_the_clients_messages_are_understood():
    vosk = door()
    assert vosk.read('{ "config" : { "sample_rate" : 16000 } }') == []
    assert vosk.read(b"\1\2") == [Audio(b"\1\2", 1)]
    request = vosk.request(Audio(b"\1\2", 1))
    assert (request.format.sample_rate, request.config.words, request.config.hotwords) == (16000, True, "")
    assert vosk.read(b"") == [Audio(b"", 2)]
    phrases = '{"config": {"phrase_list": ["zero one", "[unk]", "nine"], "words": 0}}'
    assert vosk.read(phrases) == [Configure(changes={"hotwords": "zero one, nine"})]
    assert vosk.read('{"reset" : 1}') == [Flush()]
    assert vosk.read('{"eof" : 1}') == [End()]


def test_without_a_config_the_rate_is_that_of_vosk_server():
    vosk = door(language="deu")
    vosk.read(b"\1\2")
    request = vosk.request(None)
    assert (request.format.sample_rate, request.config.language) == (8000, "de")


@pytest.mark.parametrize(
    "wrong",
    [
        "no JSON",
        '{"config":{"sample_rate":"nan"}}',
        '{"config":{"sample_rate":"inf"}}',
        "[]",
        '{"dance":1}',
        '{"config":{"sample_rate":"x"}}',
        '{"config":{"phrase_list":"x"}}',
    ],
)
def test_what_is_not_understood_is_told(wrong):
    with pytest.raises(InvalidRequestError) as error:
        door().read(wrong)
    assert said(door().notice(MessageError(error.value))) == [{"error": error.value.message}]


def test_every_audio_message_has_one_answer_and_every_word_is_in_one_result():
    vosk = door()
    vosk.event(partial(0, "a b"))
    assert said(vosk.notice(stored(1))) == [{"partial": "a b"}]
    assert vosk.notice(stored(None)) == ()
    vosk.event(final(segment=0, text="a b.", words=words("a", "b.")))
    vosk.event(partial(1, "c"))
    vosk.event(final(segment=1, text="c.", words=words("c.")))
    vosk.event(final(segment=2, reason="no_speech"))
    [first] = said(vosk.notice(stored(2)))
    assert first["text"] == "a b."
    assert first["result"][1] == {"conf": 0.9, "start": 1.0, "end": 1.5, "word": "b."}
    assert [answer["text"] for answer in said(vosk.notice(stored(3)))] == ["c."]
    assert said(vosk.notice(stored(4))) == [{"partial": ""}]


def test_the_last_answer_has_all_that_is_left():
    vosk = door()
    for segment in range(3):
        vosk.event(final(segment=segment, text=f"w{segment}", words=words(f"w{segment}")))
    [last] = said(vosk.event(closed()))
    assert last["text"] == "w0 w1 w2"
    assert [word["word"] for word in last["result"]] == ["w0", "w1", "w2"]
    assert said(door().event(closed())) == [{"text": ""}]


def test_a_reset_is_answered_with_what_it_settles():
    vosk = door()
    vosk.event(final(segment=0, text="a"))
    assert said(vosk.event(Flushed(session_id="s"))) == [{"text": "a"}]
    assert said(vosk.event(closed())) == [{"text": ""}]


def test_alternatives_and_no_words():
    vosk = door()
    vosk.read('{"config": {"max_alternatives": 3, "words": false}}')
    vosk.event(final(segment=0, text="a", words=words("a"), confidence=0.5))
    assert said(vosk.event(closed())) == [{"alternatives": [{"confidence": 0.5, "text": "a"}]}]


def test_errors_close_with_the_reason():
    refusal = door().refusal(AtCapacityError("full"))
    assert (refusal.code, refusal.reason) == (1013, "at_capacity")
    assert orjson.loads(only(refusal.messages)) == {"error": "full"}
