"""What a result looks like: subtitles that other parsers read, OpenAI's shapes, Whisper's fields."""

import io
import threading
from types import SimpleNamespace

import pytest
import srt
import webvtt

from api_gateway.presenters import job as job_presenter
from api_gateway.presenters import openai
from parlando.domain import languages, subtitles
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript
from parlando.errors import InvalidRequestError


def transcript(*speakers: str | None) -> Transcript:
    texts = ["Hello <there> & you.", "Two\tlines? --> no", "Ünïcödé — 日本"]
    segments = [
        FinalSegment(
            segment=n,
            start=3600.5 * n,
            end=3600.5 * n + 1.25,
            text=text,
            confidence=0.5,
            speaker=speakers[n] if speakers else None,
            words=tuple(
                TimedWord(word=w, start=3600.5 * n, end=3600.5 * n + 1, confidence=0.25) for w in text.split()
            ),
        )
        for n, text in enumerate(texts)
    ]
    return Transcript.of("j", state="completed", duration=7202.25, segments=segments, language="en")


def test_srt_is_read_by_another_parser():
    cues = list(srt.parse(subtitles.srt(transcript())))
    assert [cue.content for cue in cues] == [" ".join(s.text.split()) for s in transcript().segments]
    assert [cue.start.total_seconds() for cue in cues] == [0, 3600.5, 7201]
    assert [cue.index for cue in cues] == [1, 2, 3]


def test_vtt_is_read_by_another_parser():
    cues = webvtt.from_buffer(io.StringIO(subtitles.vtt(transcript("A", "B", "A")))).captions
    assert [cue.voice for cue in cues] == ["A", "B", "A"]
    assert [cue.start for cue in cues] == ["00:00:00.000", "01:00:00.500", "02:00:01.000"]
    assert cues[0].raw_text.endswith("Hello &lt;there&gt; &amp; you.")


def test_tsv_has_one_line_a_segment():
    rows = [line.split("\t") for line in subtitles.tsv(transcript()).splitlines()]
    assert rows[0] == ["start", "end", "text"]
    assert rows[2] == ["3600500", "3601750", "Two lines? --> no"]
    assert all(len(row) == 3 for row in rows)


def test_a_translated_transcript_keeps_what_is_not_translated():
    segments = [
        s.model_copy(update={"translations": {"de": f"Satz {s.segment}"} if s.segment else None})
        for s in transcript().segments
    ]
    german = Transcript.of("j", state="completed", duration=1, segments=segments).translated("de")
    assert german.text == "Hello <there> & you. Satz 1 Satz 2"
    assert (german.segments[1].text, german.segments[1].words, german.language) == ("Satz 1", (), "de")
    with pytest.raises(InvalidRequestError, match=r"\(de\), but got fr"):
        german.translated("fr")
    assert Transcript.of("j", state="completed", duration=0, segments=[]).translated("fr").text == ""


def test_empty_transcripts_are_valid_in_every_format():
    empty = Transcript.of("j", state="completed", duration=0, segments=[])
    assert list(srt.parse(subtitles.srt(empty))) == []
    assert webvtt.from_buffer(io.StringIO(subtitles.vtt(empty))).captions == []
    assert subtitles.text(empty) == ""


def test_speakers_are_named_in_text():
    assert subtitles.text(transcript("X", "Y", "X")).startswith("X: Hello")


def test_tokens_of_logprobs_joined_are_the_text():
    logprobs = openai.logprobs(transcript().segments)
    assert "".join(p["token"] for p in logprobs) == " ".join(transcript().text.split())
    assert all(bytes(p["bytes"]).decode() == p["token"] for p in logprobs)
    assert logprobs[0]["logprob"] == pytest.approx(-1.386294)


def test_verbose_json_has_what_was_asked_for():
    def keys(*granularities: str) -> set[str]:
        return set(openai.verbose_json(transcript(), granularities=granularities))

    assert {"segments"} == keys("segment") & {"segments", "words"}
    assert {"words"} == keys("word") & {"segments", "words"}
    assert {"segments", "words"} == keys("word", "segment") & {"segments", "words"}


def test_diarized_speakers_are_letters_or_the_names_that_were_given():
    channels = transcript("SPEAKER_00", "SPEAKER_01", "SPEAKER_00")
    assert [s["speaker"] for s in openai.diarized_json(channels)["segments"]] == ["A", "B", "A"]
    assert [s["speaker"] for s in openai.diarized_json(channels, ["Agent"])["segments"]] == [
        "Agent",
        "B",
        "Agent",
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("EN-gb", "en"),
        ("eng_Latn", "en"),
        ("German", "de"),
        ("cmn", "zh"),
        ("jw", "jw"),
        ("ger", "de"),
        ("deu", "de"),
        ("Castilian", "es"),
        ("ory_Orya", "or"),
        ("zz", None),
        ("", None),
    ],
)
def test_languages_go_by_many_names(name, code):
    assert languages.code_of(name) == code


def test_the_languages_of_whisper_are_their_own_normal_form():
    assert all(languages.code_of(code) == code for code in languages.NAMES)
    assert all(languages.code_of(name.title()) == code for name, code in languages.CODES.items())


async def test_a_result_is_computed_outside_of_the_event_loop(monkeypatch):
    threads = []
    monkeypatch.setattr(job_presenter, "result_of", lambda *_: threads.append(threading.get_ident()) or {})
    assert await job_presenter.whole_result(SimpleNamespace(), transcript()) == {}
    assert threads
    assert threading.get_ident() not in threads
