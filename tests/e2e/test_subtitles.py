"""Subtitles of all routes: in cues, whose size and length clients choose."""

import csv
import io

import docx
import httpx
import numpy as np
import pytest
import srt
import webvtt

from parlando.client import connect
from support.cluster import Cluster
from support.jobs import submit, wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.speech import RATE

WORDS = 60
SMALL = {"max_line_chars": "20", "max_lines": "1", "max_cue_s": "2"}


def talk() -> np.ndarray:
    """Words of five letters, two a second, with a pause after every twenty."""
    parts = [np.concatenate([speak(20, first=at), silence(1.5)]) for at in range(0, WORDS, 20)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(processors=1, **PERFECT) as running:
        yield running


@pytest.fixture(scope="module")
def job(cluster):
    job = submit(cluster.http(), wav(talk()), language="en", words="true")["job_id"]
    assert wait(cluster.http(), job)["status"] == "completed"
    return job


def check(text: str, *, chars: int = 42, lines: int = 2, seconds: float = 7) -> None:
    cues = list(srt.parse(text))
    assert " ".join(" ".join(cue.content.split()) for cue in cues).split() == script(0, WORDS)
    for cue in cues:
        assert len(cue.content.splitlines()) <= lines
        assert max(map(len, cue.content.splitlines())) <= chars
        assert 1 <= (cue.end - cue.start).total_seconds() <= seconds


def test_a_job_has_subtitles_of_the_size_that_was_asked_for(cluster, job):
    url = f"{cluster.http()}/v1/stt/jobs/{job}/result"
    check(httpx.get(url, params={"format": "srt"}, timeout=600).text)
    check(httpx.get(url, params={"format": "srt", **SMALL}, timeout=600).text, chars=20, lines=1, seconds=2)
    wrong = httpx.get(url, params={"format": "srt", "max_line_chars": "3"}, timeout=600)
    assert wrong.status_code == 422
    assert "max_line_chars" in wrong.json()["detail"]
    ass = httpx.get(url, params={"format": "ass"}, timeout=600)
    assert ass.headers["content-type"].startswith("text/x-ssa")
    assert ass.text.count("Dialogue: ") == len(
        list(srt.parse(httpx.get(url, params={"format": "srt"}, timeout=600).text))
    )
    karaoke = httpx.get(url, params={"format": "karaoke"}, timeout=600).text
    captions = webvtt.from_buffer(io.StringIO(karaoke)).captions
    assert " ".join(" ".join(each.text.split()) for each in captions).split() == script(0, WORDS)
    assert karaoke.count("<00:00:") > WORDS - 20


@pytest.mark.parametrize("form", ["srt", "vtt", "text"])
def test_openais_route_takes_the_same_fields(cluster, form):
    def ask(**fields: str) -> httpx.Response:
        files = {"file": ("a.wav", wav(talk()))}
        url = f"{cluster.http()}/v1/audio/transcriptions"
        return httpx.post(url, files=files, data={"response_format": form, **fields}, timeout=600)

    if form == "text":
        assert ask().text == " ".join(script(0, WORDS)) + "\n"
    elif form == "srt":
        check(ask().text)
        check(ask(**SMALL).text, chars=20, lines=1, seconds=2)
        wrong = ask(max_lines="9")
        assert wrong.status_code == 400
        assert "max_lines" in wrong.json()["error"]["message"]
    else:
        captions = webvtt.from_buffer(io.StringIO(ask(**SMALL).text)).captions
        assert max(len(line) for each in captions for line in each.lines) <= 20


async def test_a_live_session_and_other_services_routes_take_them_too(cluster):
    async with connect(cluster.url(), language="en") as session:
        pcm = talk()
        for at in range(0, len(pcm), RATE):
            await session.send(pcm[at : at + RATE].tobytes())
        await session.end()
        async for _ in session:
            pass
    async with httpx.AsyncClient(timeout=600) as client:
        url = f"{cluster.http()}/v1/stt/sessions/{session.id}/transcript"
        check((await client.get(url, params={"format": "srt", **SMALL})).text, chars=20, lines=1, seconds=2)
        files = {"audio_file": ("a.wav", wav(talk()))}
        answer = await client.post(f"{cluster.http()}/asr", files=files, params={"output": "srt", **SMALL})
        check(answer.text, chars=20, lines=1, seconds=2)
        files = {"file": ("a.wav", wav(talk()))}
        data = {"response_format": "srt", **SMALL}
        answer = await client.post(f"{cluster.http()}/inference", files=files, data=data)
        check(answer.text, chars=20, lines=1, seconds=2)


def test_a_job_is_a_table_and_a_document_with_or_without_speakers(cluster):
    files = {"file": ("talk.wav", wav(talk()))}
    submitted = httpx.post(
        f"{cluster.http()}/v1/stt/jobs", files=files, data={"channels": "split"}, timeout=600
    ).json()
    job = wait(cluster.http(), submitted["job_id"])
    assert job["status"] == "completed"
    url = f"{cluster.http()}/v1/stt/jobs/{job['job_id']}/result"

    def ask(form: str, **more: str) -> httpx.Response:
        return httpx.get(url, params={"format": form, **more}, timeout=600)

    table = ask("csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert " ".join(row["text"] for row in rows).split() == script(0, WORDS)
    labels = {row["speaker"] for row in rows}
    assert labels
    assert "" not in labels
    answer = ask("docx")
    assert answer.headers["content-type"].endswith("wordprocessingml.document")
    title, *paragraphs = [each.text for each in docx.Document(io.BytesIO(answer.content)).paragraphs]
    assert title == "talk.wav"
    assert all(any(label in text for label in labels) for text in paragraphs)
    for form in ("text", "srt", "vtt", "ass", "csv"):
        assert any(label in ask(form).text for label in labels)
        assert not any(label in ask(form, speakers="false").text for label in labels)
    assert ask("json", speakers="false").json()["segments"] == job["result"]["segments"]


def test_a_corrected_transcript_is_written_in_every_format(cluster, job):
    result = httpx.get(f"{cluster.http()}/v1/stt/jobs/{job}/result", timeout=600).json()
    first, second = script(0, WORDS)[:2]

    def ask(form: str, segments: object = None, **more: str) -> httpx.Response:
        whole = result["segments"] if segments is None else segments
        body = {"title": "A talk", "language": "en", "segments": whole}
        return httpx.post(
            f"{cluster.http()}/v1/stt/export", json=body, params={"format": form, **more}, timeout=600
        )

    for form in ("text", "srt", "vtt", "ass", "karaoke", "tsv", "csv"):
        same = httpx.get(f"{cluster.http()}/v1/stt/jobs/{job}/result", params={"format": form}, timeout=600)
        answer = ask(form)
        assert answer.text == same.text, form
        assert answer.headers["content-type"] == same.headers["content-type"]
    check(ask("srt", **SMALL).text, chars=20, lines=1, seconds=2)
    corrected = [
        {
            **each,
            "text": each["text"].replace(first, "Wörter"),
            "words": [{**word, "word": word["word"].replace(first, "Wörter")} for word in each["words"]],
        }
        for each in result["segments"]
    ]
    for form in ("text", "srt", "karaoke", "csv", "json"):
        text = ask(form, corrected).text
        assert "Wörter" in text
        assert first not in text
        assert second in text
    document = docx.Document(io.BytesIO(ask("docx", corrected).content))
    assert document.paragraphs[0].text == "A talk"
    assert "Wörter" in document.paragraphs[1].text
    unsorted = [{"start": 5, "end": 1, "text": "b"}, {"start": 0, "end": 1, "text": "a"}]
    assert ask("text", unsorted).text == "a\nb\n"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"segments": [{"start": -1, "end": 1, "text": "a"}]}', "segments"),
        (b'{"segments": [{"start": 1e400, "end": 1, "text": "a"}]}', "segments"),
        (b'{"segments": [{"start": 0, "end": 1}]}', "text"),
        (b'{"segments": [{"start": 0, "end": 1, "text": "\\ud800"}]}', "body"),
    ],
)
def test_what_is_no_transcript_is_not_written(cluster, body, where):
    answer = httpx.post(f"{cluster.http()}/v1/stt/export", content=body, timeout=600)
    assert answer.status_code == 422
    assert where in answer.text
