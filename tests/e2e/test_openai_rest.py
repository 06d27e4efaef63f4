"""OpenAI's official libraries, unmodified, against a cluster."""

import asyncio
import io
import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import openai
import pytest
import soundfile
import srt
import webvtt
from openai import OpenAI
from whisper.normalizers import EnglishTextNormalizer

from parlando.store.keys import chunks
from support.cluster import Cluster
from support.jobs import submit
from support.models import whisper_tiny_en
from support.perfect import script, speak
from support.pools import POOL
from support.speech import JFK

WORDS = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
OPENAI_NODE = "7"  # major version of the npm package
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, API_KEYS="key", MAX_UPLOAD_MB="4") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    return OpenAI(base_url=f"{cluster.http()}/v1", api_key="key", max_retries=0)


def ask(client: OpenAI, **more):
    return client.audio.transcriptions.create(**{"model": "whisper-1", "file": JFK.open("rb"), **more})


def test_json_text_and_subtitles(client):
    answer = ask(client)
    assert normal(answer.text) == WORDS
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 11)
    assert normal(ask(client, response_format="text")) == WORDS
    cues = list(srt.parse(ask(client, response_format="srt")))
    assert normal(" ".join(cue.content for cue in cues)) == WORDS
    captions = webvtt.from_buffer(io.StringIO(ask(client, response_format="vtt"))).captions
    assert normal(" ".join(caption.text for caption in captions)) == WORDS


def test_verbose_json_has_segments_words_or_both(client):
    answer = ask(client, response_format="verbose_json")
    assert (answer.language, answer.duration, answer.words) == ("english", 11.0, None)
    assert normal("".join(segment.text for segment in answer.segments)) == WORDS
    assert all(segment.avg_logprob < 0 < segment.compression_ratio for segment in answer.segments)
    answer = ask(client, response_format="verbose_json", timestamp_granularities=["word"])
    assert answer.segments is None
    assert normal(" ".join(word.word for word in answer.words)) == WORDS
    edges = [edge for word in answer.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    both = ask(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert both.segments
    assert both.words


def test_diarized_json_and_logprobs(client):
    answer = ask(client, response_format="diarized_json", extra_body={"known_speaker_names": ["Kennedy"]})
    assert {segment.speaker for segment in answer.segments} == {"Kennedy"}
    assert normal(answer.text) == WORDS
    sure = ask(client, include=["logprobs"])
    assert "".join(token.token for token in sure.logprobs) == sure.text
    assert all(token.logprob <= 0 for token in sure.logprobs)


def test_streaming_gives_deltas_while_it_decodes(client):
    events = list(ask(client, stream=True, include=["logprobs"]))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) >= 2
    assert events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text
    assert "".join(token.token for token in events[-1].logprobs) == events[-1].text
    assert len(set(normal(events[-1].text).split()) & set(WORDS.split())) >= 12
    kinds = {event.type for event in ask(client, stream=True, response_format="diarized_json")}
    assert kinds == {"transcript.text.delta", "transcript.text.segment", "transcript.text.done"}


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()][:2] == ["moonshine-tiny", "whisper-1"]
    assert client.models.retrieve("gpt-4o-transcribe").owned_by == "parlando"
    for name in ("moonshine-tiny", "gpt-4o-transcribe", "omniASR_CTC_300M_v2"):
        assert normal(ask(client, model=name).text) == WORDS


def test_a_language_goes_by_many_names(client):
    for language in ("en", "english", "eng_Latn"):
        assert normal(ask(client, language=language).text) == WORDS


def test_errors_are_the_typed_exceptions(cluster, client):
    def refused(kind, **more) -> openai.APIStatusError:
        with pytest.raises(kind) as caught:
            ask(client, **more)
        body = caught.value.body
        assert set(body) == {"message", "type", "param", "code"}
        assert caught.value.request_id.startswith("req_")
        return caught.value

    assert refused(openai.NotFoundError, model="nothing").code == "model_not_found"
    assert refused(openai.BadRequestError, file=("x.wav", b"no audio " * 100)).param == "file"
    assert refused(openai.BadRequestError, file=("x.wav", b"")).param == "file"
    assert refused(openai.BadRequestError, language="zz").param == "language"
    assert refused(openai.BadRequestError, language="de").param == "language"
    assert refused(openai.BadRequestError, response_format="pdf").param == "response_format"
    assert (
        refused(openai.BadRequestError, timestamp_granularities=["char"]).param == "timestamp_granularities"
    )
    assert refused(openai.BadRequestError, temperature=7).param == "temperature"
    assert "Maximum content size limit (4194304)" in str(
        refused(openai.APIStatusError, file=("x.wav", b"x" * (5 << 20)))
    )
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    stranger = OpenAI(base_url=f"{cluster.http()}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    for path in ("/v1/audio/nothing", "/v1/models/a/b/c"):
        answer = httpx.get(cluster.http() + path, headers={"Authorization": "Bearer key"})
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_error_while_streaming_is_an_exception_too(client):
    with pytest.raises(openai.APIError, match="can't be decoded"):
        list(ask(client, file=("x.wav", b"no audio " * 100), stream=True))


def test_a_full_cluster_and_a_failing_engine_are_typed_exceptions_too(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, speak(1, first=666), 16_000)
    with Cluster(STT_ENGINE="support.poison:engine", VAD="rms", MAX_JOBS_WAITING="1") as cluster:
        client = OpenAI(base_url=f"{cluster.http()}/v1", api_key="none", max_retries=0)
        waiting = submit(cluster.http(), path)["job_id"]  # no audio-processor runs yet
        with pytest.raises(openai.RateLimitError):
            ask(client, file=path.open("rb"))
        httpx.delete(f"{cluster.http()}/v1/stt/jobs/{waiting}")
        cluster.add_processor()
        with pytest.raises(openai.InternalServerError, match="word 666 is too much"):
            ask(client, file=path.open("rb"))


def test_nothing_is_left_of_a_request(cluster, client):
    ask(client)
    deadline = time.monotonic() + 60
    while [key for key in cluster.store().keys("*") if ":job:" in key or ":events:" in key]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    headers = {"Authorization": "Bearer key"}
    assert httpx.get(f"{cluster.http()}/v1/stt/jobs", headers=headers).json()["jobs"] == []
    assert list(cluster.blobs.rglob("jobs/*")) == []


async def test_a_client_that_goes_away_cancels_its_job():
    with Cluster(
        processors=1, STT_ENGINE="support.perfect:engine", VAD="rms", PERFECT_DELAY_MS="4000"
    ) as cluster:
        for stream in ("false", "true"):
            async with httpx.AsyncClient() as client:
                asking = asyncio.create_task(
                    client.post(
                        f"{cluster.http()}/v1/audio/transcriptions",
                        files={"file": JFK.read_bytes()},
                        data={"stream": stream},
                    )
                )
                while not cluster.store().xlen(chunks(0, POOL)):
                    await asyncio.sleep(0.02)
                asking.cancel()
                await asyncio.wait([asking])
            deadline = time.monotonic() + 60
            while cluster.store().xlen(chunks(0, POOL)) or list(cluster.blobs.rglob("jobs/*")):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


def test_a_real_whisper_transcribes_and_says_that_it_cannot_translate():
    """tiny.en knows English only."""
    whisper_tiny_en()  # is on this machine
    with Cluster(processors=1, STT_ENGINE="faster-whisper", WHISPER_MODEL="tiny.en") as cluster:
        client = OpenAI(base_url=f"{cluster.http()}/v1", api_key="none", max_retries=0)
        answer = ask(client, language="en", response_format="verbose_json")
        assert normal(answer.text) == WORDS
        assert answer.language == "english"
        with pytest.raises(openai.BadRequestError, match="can't translate"):
            client.audio.translations.create(model="whisper-1", file=JFK.open("rb"))


def test_translations_reach_an_engine_that_can(tmp_path):
    """The perfect recogniser translates into capitals."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, speak(5), 16_000)
    with Cluster(processors=1, STT_ENGINE="support.perfect:engine", VAD="rms") as cluster:
        client = OpenAI(base_url=f"{cluster.http()}/v1", api_key="none", max_retries=0)
        translated = client.audio.translations.create(model="whisper-1", file=path.open("rb"))
        assert translated.text.split() == [word.upper() for word in script(0, 5)]
        verbose = client.audio.translations.create(
            model="whisper-1", file=path.open("rb"), response_format="verbose_json"
        )
        assert verbose.language == "english"
        assert ask(client, file=path.open("rb"), response_format="verbose_json").task == "transcribe"


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", f"openai@{OPENAI_NODE}"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"npm can't install openai: {done.stderr[-300:]}")
    return folder


@pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="Node isn't installed")
def test_the_npm_package(cluster, node_modules):
    script = Path(__file__).with_name("openai_sdk.mjs")
    command = ["node", str(script), f"{cluster.http()}/v1", str(JFK)]
    done = subprocess.run(command, cwd=node_modules, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["models"][:2] == ["moonshine-tiny", "whisper-1"]
    assert normal(shown["json"]["text"]) == WORDS
    assert normal(shown["text"]) == WORDS
    assert len(list(srt.parse(shown["srt"]))) >= 2
    assert shown["vtt"].startswith("WEBVTT\n\n")
    assert normal("".join(segment["text"] for segment in shown["verbose_json"]["segments"])) == WORDS
    assert {segment["speaker"] for segment in shown["diarized_json"]["segments"]} == {"A"}
    assert normal(" ".join(word["word"] for word in shown["words"]["words"])) == WORDS
    assert "".join(token["token"] for token in shown["logprobs"]["logprobs"]) == shown["logprobs"]["text"]
    assert len(shown["deltas"]) >= 2
    assert "".join(shown["deltas"]) == shown["done"]
    assert {name: (error["kind"], error["status"]) for name, error in shown["errors"].items()} == {
        "model": ("NotFoundError", 404),
        "language": ("BadRequestError", 400),
        "file": ("BadRequestError", 400),
        "known": ("NotFoundError", 404),
        "key": ("AuthenticationError", 401),
    }
    assert shown["errors"]["file"]["param"] == "file"


@pytest.mark.parametrize("path", ["/v1/v1/audio/transcriptions", "//v1/audio/transcriptions"])
def test_a_wrong_base_url_is_told(cluster, path):
    answer = httpx.post(f"{cluster.http()}{path}", timeout=600)
    assert answer.status_code == 404
    assert "the path is /v1/audio/transcriptions: check the base URL" in answer.json()["error"]["message"]
