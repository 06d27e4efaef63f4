"""Labels of speakers in finals, transcripts and jobs: pure."""

from parlando.domain.events import FinalTranscript, SpeakerOfSegment, SpeakersRevised, settled
from parlando.domain.transcript import FinalSegment, SpeakerRun, TimedWord
from transcriber.pipeline.speaker_runs import divided


def words(text: str, speakers: str = "") -> list[TimedWord]:
    """Words of half a second each; `speakers`: a character for each, `-` for none."""
    labels = [None if each == "-" else f"SPEAKER_0{each}" for each in speakers] or [None] * len(text.split())
    return [
        TimedWord(word=word, start=at / 2, end=at / 2 + 0.4, speaker=speaker)
        for at, (word, speaker) in enumerate(zip(text.split(), labels, strict=True))
    ]


def final(text: str, speakers: str = "", **more) -> FinalTranscript:
    told = {"session_id": "s", "segment": 3, "start": 0.0, "end": 9.0, "continues": True, **more}
    return FinalTranscript(text=text, words=words(text, speakers), **told)


def test_a_final_is_divided_where_its_speaker_changes():
    first, second, third = divided(final("How are you? Fine. And you?", "000122"))
    assert [part.segment for part in (first, second, third)] == [3, 4, 5]
    assert [part.text for part in (first, second, third)] == ["How are you?", "Fine.", "And you?"]
    assert [part.speaker for part in (first, second, third)] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert [(part.start, part.end) for part in (first, second, third)] == [(0, 1.4), (1.5, 1.9), (2.0, 9.0)]
    assert [part.continues for part in (first, second, third)] == [None, None, True]
    assert [word for part in (first, second, third) for word in part.words] == final(
        "How are you? Fine. And you?", "000122"
    ).words


def test_a_final_with_one_speaker_or_with_a_translation_stays_whole():
    for one in (final("Yes it is", "000"), final("Yes it is"), final("")):
        assert divided(one) == [one]
    translated = final("Ja nein", "01", translations={"en": "Yes no"})
    assert divided(translated) == [translated]


def test_languages_without_spaces_are_joined_without_them():
    first, second = divided(final("は い いいえ", "001", language="ja"))
    assert (first.text, second.text) == ("はい", "いいえ")
    translated = divided(final("yes yes no", "001", language="ja"), task="translate")
    assert [part.text for part in translated] == ["yes yes", "no"]


def test_transcripts_have_the_latest_speakers():
    revisions = [
        SpeakersRevised(session_id="s", segments=[SpeakerOfSegment(segment=3, speaker="SPEAKER_01")]),
        SpeakersRevised(
            session_id="s",
            segments=[SpeakerOfSegment(segment=4, speaker="SPEAKER_00"), SpeakerOfSegment(segment=9)],
        ),
    ]
    finals = [final("One", "0", speaker="SPEAKER_00"), final("Two", segment=4)]
    first, second = settled([finals[0], revisions[0], finals[1], revisions[1]])
    assert (first.speaker, first.words[0].speaker) == ("SPEAKER_01", "SPEAKER_01")
    assert (second.speaker, second.words[0].speaker) == ("SPEAKER_00", None)
    unknown = SpeakersRevised(session_id="s", segments=[SpeakerOfSegment(segment=3)])
    assert settled([finals[0], unknown])[0].speaker is None


def segment(text: str, **more) -> FinalSegment:
    return FinalSegment(segment=0, start=0.0, end=9.0, text=text, words=tuple(words(text)), **more)


def test_a_segment_of_a_job_is_divided_by_the_runs_of_its_words():
    runs = [SpeakerRun(words=1, speaker="SPEAKER_00"), SpeakerRun(words=2, speaker="SPEAKER_01")]
    first, second = segment("Yes? No, no.").divided(runs, language="en")
    assert (first.text, first.start, first.end, first.speaker) == ("Yes?", 0.0, 0.4, "SPEAKER_00")
    assert (second.text, second.start, second.end, second.speaker) == ("No, no.", 0.5, 9.0, "SPEAKER_01")
    assert {word.speaker for word in second.words} == {"SPEAKER_01"}


def test_a_segment_that_cannot_be_divided_has_the_speaker_of_most_words():
    runs = [SpeakerRun(words=1, speaker="SPEAKER_00"), SpeakerRun(words=2, speaker="SPEAKER_01")]
    translated = segment("Ja nein nein", translations={"en": "Yes no no"})
    [whole] = translated.divided(runs, language="de")
    assert (whole.text, whole.speaker) == ("Ja nein nein", "SPEAKER_01")
    [other] = segment("Two words").divided(runs, language="en")
    assert other.speaker == "SPEAKER_01"
    assert segment("Two words").divided([], language="en") == [segment("Two words")]
