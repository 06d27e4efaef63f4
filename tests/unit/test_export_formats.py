"""Transcripts as CSV and DOCX, read by other parsers."""

import csv
import io
import zipfile

import docx
import pytest

from parlando.domain.cues import CueRules
from parlando.domain.subtitles import FORMATS, Format
from parlando.domain.transcript import FinalSegment, Transcript


def segment(number: int, text: str, speaker: str | None = None, **more) -> FinalSegment:
    return FinalSegment(
        segment=number, start=number * 10.0, end=number * 10 + 2.5, text=text, speaker=speaker, **more
    )


def transcript(*segments: FinalSegment, title: str | None = None) -> Transcript:
    return Transcript.of("j", state="completed", duration=100, segments=segments, language="en", title=title)


def written(form: Format, whole: Transcript):
    return FORMATS[form][1](whole, CueRules())


HARD = 'Quotes "and", commas;\ttabs <b>&amp;</b> Ünïcödé — 日本 \U0001f600'


def test_csv_is_read_by_another_parser():
    whole = transcript(
        segment(0, HARD, "A", speaker_name="Anna, née B", confidence=0.5, language="en"),
        segment(1, "", reason="engine_failed"),
        segment(2, "two"),
    )
    rows = list(csv.DictReader(io.StringIO(written(Format.CSV, whole), newline="")))
    assert rows[0] == {
        "start": "0.000",
        "end": "2.500",
        "speaker": "Anna, née B",
        "text": HARD,
        "confidence": "0.500",
        "language": "en",
    }
    assert [(row["start"], row["text"], row["speaker"], row["confidence"]) for row in rows[1:]] == [
        ("20.000", "two", "", "")
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1 degree", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_a_spreadsheet_takes_no_text_or_name_for_a_formula(text):
    whole = transcript(segment(0, text, text), segment(1, "1 = 1", "A"))
    first, second = csv.DictReader(io.StringIO(written(Format.CSV, whole), newline=""))
    assert (first["text"], first["speaker"]) == (f"'{text}", f"'{text}")
    assert second["text"] == "1 = 1"


def test_docx_is_read_by_another_program():
    whole = transcript(
        segment(0, f"{HARD}\x00\x0b", "A", speaker_name="Anna <A&B>"),
        segment(1, "goes on.", "A", speaker_name="Anna <A&B>"),
        segment(2, "An answer.", "B"),
        title="board & co.mp3",
    )
    document = docx.Document(io.BytesIO(written(Format.DOCX, whole)))
    title, first, second = document.paragraphs
    assert (title.text, title.style.name) == ("board & co.mp3", "Title")
    assert first.text == f"0:00:00  Anna <A&B>: {HARD} goes on."
    assert [run.text for run in first.runs if run.bold] == ["Anna <A&B>: "]
    assert second.text == "0:00:20  B: An answer."
    assert 'w:val="en"' in document.styles.element.xml


def test_docx_begins_a_paragraph_each_minute_and_equal_transcripts_are_equal_files():
    whole = transcript(*(segment(number, f"word{number}") for number in range(20)))
    content = written(Format.DOCX, whole)
    paragraphs = [each.text for each in docx.Document(io.BytesIO(content)).paragraphs]
    assert [each.split("  ")[0] for each in paragraphs] == ["0:00:00", "0:01:00", "0:02:00", "0:03:00"]
    assert " ".join(each.split("  ")[1] for each in paragraphs).split() == [f"word{n}" for n in range(20)]
    assert content == written(Format.DOCX, whole)
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None


def test_empty_transcripts_are_valid():
    assert docx.Document(io.BytesIO(written(Format.DOCX, transcript()))).paragraphs == []
    assert list(csv.reader(io.StringIO(written(Format.CSV, transcript())))) == [
        ["start", "end", "speaker", "text", "confidence", "language"]
    ]


def test_a_transcript_without_its_speakers_names_none():
    whole = transcript(segment(0, "one", "A", speaker_name="Anna"), segment(1, "two", "B"))
    for form in (Format.TEXT, Format.SRT, Format.VTT, Format.CSV, Format.ASS):
        assert "Anna" in written(form, whole)
        assert "Anna" not in written(form, whole.anonymous())
    assert "Anna" in whole.model_dump_json()
