"""Known speakers: the comparison of voices, the option, and how names reach finals and transcripts."""

import base64

import numpy as np
import pytest

from api_gateway.http.job_uploads import Upload
from api_gateway.http.known_speakers import _name as name_of
from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, SpeakerOfSegment, SpeakersRevised, settled
from parlando.domain.known_speakers import EVERYBODY, KnownSpeaker, Recognised, chosen
from parlando.domain.transcript import FinalSegment, SpeakerRun, TimedWord, Transcript
from parlando.errors import InvalidRequestError
from transcriber.pipeline.speaker_runs import divided, named
from transcriber.speakers.embedding import DIMENSIONS
from transcriber.speakers.known import (
    ENOUGH_S,
    MARGIN,
    NARROW_THRESHOLD,
    NOBODY,
    THRESHOLD,
    KnownVoices,
    clip_of,
)
from transcriber.speakers.live import LiveSpeakers
from transcriber.speakers.voices import restored
from transcriber.speakers.windows import Span

ANNA = Recognised(name="Anna", score=0.7)


def axis(number: int) -> np.ndarray:
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[number] = 1.0
    return vector


def near(number: int, cosine: float) -> np.ndarray:
    """A unit vector with this cosine to an axis, and 0 to the other people's."""
    return cosine * axis(number) + np.sqrt(1 - cosine**2) * axis(100 + number)


def known(*names: str) -> KnownVoices:
    """Each name's voice is the axis of its place."""
    people = [
        KnownSpeaker(name=name, created_ms=0, clips=(clip_of(axis(n)[None], np.ones(1), seconds=6.0),))
        for n, name in enumerate(names)
    ]
    return KnownVoices.of(people)


def names(voices: KnownVoices, *vectors: np.ndarray, seconds: float = 10.0) -> dict[int, str]:
    found = voices.recognised(np.stack(vectors), [seconds] * len(vectors))
    return {number: person.name for number, person in found.items()}


def test_a_voice_is_recognised_above_the_threshold_only():
    people = known("Anna", "Ben")
    assert names(people, near(0, THRESHOLD + 0.01)) == {0: "Anna"}
    assert names(people, near(0, THRESHOLD - 0.01)) == {}
    assert names(people, near(0, 0.9), seconds=ENOUGH_S - 0.1) == {}
    assert names(NOBODY, near(0, 0.9)) == {}


def test_a_voice_between_two_people_is_nobodys():
    voice = 0.6 * axis(0) + (0.6 - MARGIN / 2) * axis(1)
    voice += np.sqrt(1 - float(voice @ voice)) * axis(100)
    assert names(known("Anna", "Ben"), voice) == {}
    assert names(known("Anna"), voice) == {0: "Anna"}


def test_the_margin_compares_what_is_above_each_threshold():
    wide = clip_of(axis(0)[None], np.ones(1), seconds=6.0)
    narrow = clip_of(axis(1)[None], np.ones(1), seconds=6.0, narrow=True)
    people = KnownVoices.of(
        [
            KnownSpeaker(name="Anna", created_ms=0, clips=(wide,)),
            KnownSpeaker(name="Ben", created_ms=0, clips=(narrow,)),
        ]
    )
    equal = 0.6 * axis(0) + 0.6 * axis(1) + np.sqrt(1 - 2 * 0.36) * axis(100)
    assert names(people, equal) == {0: "Anna"}  # 0.1 above her threshold, he 0.03 above his
    near_both = 0.6 * axis(0) + 0.66 * axis(1)
    near_both += np.sqrt(1 - float(near_both @ near_both)) * axis(100)
    assert names(people, near_both) == {}  # his cosine is 0.06 higher, but he is no further above


def test_clips_of_a_telephone_are_a_voice_of_their_own_with_a_higher_threshold():
    wide = clip_of(axis(0)[None], np.ones(1), seconds=6.0)
    narrow = clip_of(axis(1)[None], np.ones(1), seconds=6.0, narrow=True)
    people = KnownVoices.of([KnownSpeaker(name="Anna", created_ms=0, clips=(wide, narrow))])
    assert names(people, near(0, THRESHOLD + 0.01)) == {0: "Anna"}
    assert names(people, near(1, NARROW_THRESHOLD - 0.01)) == {}
    assert names(people, near(1, NARROW_THRESHOLD + 0.01)) == {0: "Anna"}
    both = 0.7 * axis(0) + 0.7 * axis(1)  # her other voice is nobody else's
    assert names(people, both) == {0: "Anna"}


def test_a_person_is_recognised_once_where_the_voice_is_nearest():
    people = known("Anna", "Ben")
    assert names(people, near(0, 0.6), near(0, 0.8), near(1, 0.55)) == {1: "Anna", 2: "Ben"}


def test_clips_of_a_person_are_averaged_by_their_speech():
    vectors = np.stack([axis(0), axis(1)])
    clip = clip_of(vectors, np.array([9.0, 3.0], np.float32), seconds=12.0)
    [mean] = restored(base64.b64decode(clip.vector))
    assert clip.seconds == 12.0
    assert mean @ axis(0) == pytest.approx(3 / np.sqrt(10), abs=0.01)
    two = KnownSpeaker(
        name="Anna",
        created_ms=0,
        clips=(
            clip_of(axis(0)[None], np.ones(1), seconds=9.0),
            clip_of(axis(1)[None], np.ones(1), seconds=3.0),
        ),
    )
    assert KnownVoices.of([two]).vectors[0] == pytest.approx(mean, abs=0.01)


def test_the_option_names_all_some_or_none():
    people = [KnownSpeaker(name=name, created_ms=0, clips=()) for name in ("Anna", "Ben", "Cleo")]

    def of(option: object) -> list[str]:
        return [each.name for each in chosen(people, SessionConfig(known_speakers=option).known_speakers)]

    assert of(True) == of("true") == ["Anna", "Ben", "Cleo"]
    assert [of(each) for each in ("True", "1", "yes", "ON", " true ")] == [["Anna", "Ben", "Cleo"]] * 5
    assert [of(each) for each in ("False", "0", "no", "Off")] == [[]] * 4
    assert of("Ben, Anna,Nobody") == of(["Anna", "Ben"]) == ["Anna", "Ben"]
    assert of(False) == of("false") == of("") == []


@pytest.mark.parametrize("option", ["True", "1", "Yes", "on", "False", "0", "no", "OFF"])
def test_booleans_are_no_names(option):
    assert SessionConfig(known_speakers=option).known_speakers in ("", EVERYBODY)
    with pytest.raises(InvalidRequestError, match="no word for true or false"):
        name_of(Upload(None, {"name": [f" {option} "]}))


def test_a_session_names_its_speakers_and_tells_when_names_change():
    speakers, people = LiveSpeakers(), known("Anna")
    windows = [Span(n, n + 1.5, 0.75) for n in range(8)]
    speakers.add(windows, np.stack([near(0, 0.7)] * 8))
    speakers.place([(0, range(8))])
    assert speakers.revisions() == []
    speakers.recognise(people)
    assert speakers.people[0].name == "Anna"
    assert speakers.revisions() == [(0, 0)]
    assert speakers.revisions() == []
    again = LiveSpeakers.load(speakers.dump())
    assert again.people == speakers.people
    assert again.revisions() == []
    again.recognise(NOBODY)  # she was deleted
    assert (again.people, again.revisions()) == ({}, [(0, 0)])


def test_a_speaker_who_is_gone_loses_the_name_also_while_the_known_ones_cannot_be_read():
    speakers = LiveSpeakers()
    speakers.add([Span(n, n + 1.5, 0.75) for n in range(8)], np.stack([near(0, 0.7)] * 8))
    speakers.recognise(known("Anna"))
    state = speakers.dump()
    state["people"]["1"] = {"name": "Ben", "score": 0.6}  # merged with the other: the number is given again
    again = LiveSpeakers.load(state)
    again.recognise(None)
    assert again.people == speakers.people


def test_each_part_of_a_final_has_the_name_of_its_speaker():
    words = [TimedWord(word=w, start=n, end=n + 0.5, speaker=f"SPEAKER_0{n}") for n, w in enumerate("ab")]
    final = FinalTranscript(
        session_id="s",
        segment=0,
        text="a b",
        start=0,
        end=2,
        speaker="SPEAKER_00",
        words=words,
        recognised={"SPEAKER_01": ANNA},
    )
    parts = [named(part) for part in divided(final)]
    assert [(p.text, p.speaker_name, p.speaker_score) for p in parts] == [
        ("a", None, None),
        ("b", "Anna", 0.7),
    ]
    assert "recognised" not in parts[1].model_dump_json()


def test_a_transcript_has_the_names_of_the_last_revision_and_given_names_go_before():
    final = FinalTranscript(
        session_id="s", segment=0, text="a", start=0, end=1, speaker="SPEAKER_00", speaker_name="Ben"
    )
    revised = SpeakersRevised(session_id="s", segments=[SpeakerOfSegment.of(0, "SPEAKER_00", ANNA)])
    [segment] = settled([final, revised])
    assert (segment.voice, segment.speaker_score) == ("Anna", 0.7)
    shown = Transcript.of("s", state="closed", duration=1, segments=[segment]).named({"SPEAKER_00": "Ann"})
    assert (shown.segments[0].voice, shown.segments[0].speaker_score) == ("Ann", None)
    taken = SpeakersRevised(session_id="s", segments=[SpeakerOfSegment.of(0, "SPEAKER_00", None)])
    assert settled([final, revised, taken])[0].voice == "SPEAKER_00"


def test_the_runs_of_a_job_carry_names():
    words = tuple(TimedWord(word=w, start=n, end=n + 0.5) for n, w in enumerate("ab"))
    segment = FinalSegment(segment=0, start=0, end=2, text="a b", words=words)
    runs = [SpeakerRun(words=1, speaker="SPEAKER_00", recognised=ANNA), SpeakerRun(words=1, speaker="X")]
    assert [(s.voice, s.speaker_score) for s in segment.divided(runs, language="en")] == [
        ("Anna", 0.7),
        ("X", None),
    ]
