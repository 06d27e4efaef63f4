"""omniASR-server's protocol: messages to commands, events to messages."""

from types import SimpleNamespace

import orjson
import pytest

from api_gateway.doors.base import Audio, MessageError, Start
from api_gateway.doors.omniasr import MAX_INTERIM, OmniAsr
from api_gateway.handshake import Handshake
from api_gateway.omniasr_settings import differences
from api_gateway.settings import GatewaySettings
from parlando.domain.commands import Configure, End
from parlando.domain.events import Failure
from parlando.domain.formats import CANONICAL
from parlando.errors import AtCapacityError, InvalidRequestError
from support.events import closed, final, only, partial


def door(**query: str) -> OmniAsr:
    return OmniAsr(Handshake(query=query))


def said(messages):
    return [orjson.loads(message) for message in messages]


def test_it_says_that_it_is_ready():
    session = SimpleNamespace(format=CANONICAL, engine="moonshine", model="tiny")
    assert said(door().greeting(session)) == [
        {"type": "ready", "sample_rate": 16000, "model": "moonshine-tiny"}
    ]


def test_audio_config_and_end_are_understood_and_all_else_is_ignored():
    omni = door()
    start = only(omni.read('{"type":"config","sample_rate":8000,"language":"eng_Latn","model":"x"}'))
    assert isinstance(start, Start)
    assert (start.format.sample_rate, start.changes) == (8000, {"language": "en"})
    assert omni.read(b"\1\2") == [Audio(b"\1\2")]
    late = omni.read('{"type":"config","sample_rate":8000,"language":"deu_Latn"}')
    assert late == [Configure(changes={"language": "de"})]
    assert omni.read('{"type":"config","model":"x"}') == []
    assert omni.read('{"type":"end"}') == [End()]
    assert [omni.read(text) for text in ("no JSON", "[]", '{"type":"dance"}')] == [[], [], []]


@pytest.mark.parametrize("wrong", ['"sample_rate":5', '"sample_rate":"x"', '"language":"xx"', '"language":5'])
def test_a_config_that_cannot_be_is_told(wrong):
    with pytest.raises(InvalidRequestError) as error:
        door().read(f'{{"type":"config",{wrong}}}')
    [told] = said(door().notice(MessageError(error.value)))
    assert told == {"type": "error", "message": error.value.message}


def test_the_query_may_have_language_and_rate():
    request = door(language="deu_Latn", sample_rate="8000").request(None)
    assert (request.config.language, request.format.sample_rate) == ("de", 8000)
    assert "language" not in door().request(None).config.model_fields_set, "the default may apply"


def test_every_message_has_the_whole_text_and_only_the_last_is_final():
    omni = door()
    events = [
        partial(0, "a b c", "a"),
        final(segment=0, text="a b c."),
        partial(1, "d e", ""),
        partial(1, "d e", "d e"),
        final(segment=1, text="d e."),
        final(segment=2, reason="no_speech"),
        closed(),
    ]
    messages = [message for event in events for message in said(omni.event(event))]
    assert [(m["confirmed_text"], m["pending_text"]) for m in messages] == [
        ("a", "b c"),
        ("a b c.", ""),
        ("a b c.", "d e"),
        ("a b c. d e", ""),
        ("a b c. d e.", ""),
        ("a b c. d e.", ""),
    ]
    assert [m["is_final"] for m in messages] == [False] * 5 + [True]
    for message in messages:
        assert message["text"] == f"{message['confirmed_text']} {message['pending_text']}".strip()
        assert set(message) == {
            "text",
            "confirmed_text",
            "pending_text",
            "is_final",
            "latency_ms",
            "audio_duration",
        }


def test_a_session_that_ends_otherwise_has_no_final_message():
    assert door().event(closed(reason="idle")) == []
    failure = Failure(session_id="s", code="invalid_audio", message="broken")
    assert said(door().event(failure)) == [{"type": "error", "message": "broken"}]


def test_interim_messages_are_bounded_and_the_last_one_is_whole():
    omni = door()
    for segment in range(3):
        [message] = said(omni.event(final(segment=segment, text="x" * MAX_INTERIM)))
        assert len(message["text"]) <= MAX_INTERIM
    [last] = said(omni.event(closed()))
    assert last["text"] == " ".join(["x" * MAX_INTERIM] * 3)


def test_a_full_cluster_closes_with_1013():
    refusal = door().refusal(AtCapacityError("full"))
    assert refusal.code == 1013
    assert said(refusal.messages) == [{"type": "error", "message": "full"}]


def test_settings_that_do_something_else_here_are_told(monkeypatch):
    for name in ("MODEL_CARD", "CHUNK_DURATION", "VAD_ENABLED", "DEFAULT_LANG"):
        monkeypatch.delenv(name, raising=False)
    assert differences(GatewaySettings()) == {}
    for name, value in (
        ("MODEL_CARD", "omniASR_CTC_1B_v2"),
        ("CHUNK_DURATION", "5.0"),
        ("VAD_ENABLED", "false"),
        ("DEFAULT_LANG", "eng_Latn"),
    ):
        monkeypatch.setenv(name, value)
    settings = GatewaySettings()
    assert list(differences(settings)) == ["MODEL_CARD", "CHUNK_DURATION", "VAD_ENABLED"]
    assert settings.default_language == "en"
    assert settings.model_names[-1] == "omniASR_CTC_1B_v2"
