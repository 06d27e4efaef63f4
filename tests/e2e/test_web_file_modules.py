"""The modules of the Files view in a real browser, without a cluster: what they compute."""

import base64
import io

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from playwright.async_api import Page

from support.browser import CHROMIUM, chromium, opened
from support.encoding import encoded
from support.speech import JFK
from support.web_app import web_app

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page():
    with web_app() as served:
        async with chromium() as browser, opened(browser, f"{served.url}/watch/none") as watched:
            yield watched.page


async def computed(page: Page, script: str, *given: object):
    """What an async function in JavaScript returns; its first argument imports a module of the app."""
    return await page.evaluate(
        f"([given]) => ({script})((name) => import(`/app/${{name}}`), ...given)", [list(given)]
    )


# --- find and replace ---------------------------------------------------------------------------------

CORRECT = """async (load, segments, replacements) => {
  const { corrected, countOf } = await load("replacements.js");
  const before = JSON.stringify(segments);
  const found = corrected(segments, replacements);
  if (JSON.stringify(segments) !== before) throw new Error("the given segments have changed");
  return [found, replacements.map((each) => countOf(segments, each))];
}"""


def segment(text: str) -> dict:
    words = [{"word": word, "start": n, "end": n + 1} for n, word in enumerate(text.split())]
    return {"start": 0, "end": len(words), "text": text, "words": words}


def rule(find: str, replace: str, **more: bool) -> dict:
    return {"find": find, "replace": replace, **more}


async def test_words_that_replace_others_share_their_time(page):
    text = "My fellow Americans, ask not what, ask not."
    cases = [
        (rule("fellow americans", "friends"), "My friends, ask not what, ask not.", 1),
        (rule("ask not", "never ask"), "My fellow Americans, never ask what, never ask.", 2),
        (rule("my", ""), "fellow Americans, ask not what, ask not.", 1),
        (rule("My", "Our", matchCase=True), "Our fellow Americans, ask not what, ask not.", 1),
        (rule("my", "Our", matchCase=True), text, 0),
        (rule("a", "X", wholeWords=True), text, 0),
        (rule("s", "$&"), "My fellow American$&, a$&k not what, a$&k not.", 3),
        (rule("what, ask", "A  B"), "My fellow Americans, ask not A B not.", 1),
        (rule("(", "x"), text, 0),
        (rule(" ", "x"), text, 0),
    ]
    for wanted, after, count in cases:
        [[found], counts] = await computed(page, CORRECT, [segment(text)], [wanted])
        assert found["text"] == after
        assert counts == [count]
        words = found["words"]
        assert " ".join(word["word"] for word in words) == after
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert times[-1] == 8
        same = [word for word in words if word in segment(text)["words"]]
        assert len(same) >= 3, "the times of other words stay"


async def test_replacements_follow_each_other_and_texts_without_words_too(page):
    segments = [segment("one two"), {"start": 0, "end": 1, "text": "one 日本語 ÖÄ"}]
    found, _ = await computed(
        page,
        CORRECT,
        segments,
        [rule("one", "two"), rule("two", "three"), rule("öä", "日"), rule("本", "")],
    )
    assert [each["text"] for each in found] == ["three three", "three 日語 日"]
    assert "words" not in found[1]


# --- the queue ----------------------------------------------------------------------------------------


async def test_the_time_that_is_left_is_that_of_all_bytes(page):
    shares, left, texts = await computed(
        page,
        """async (load) => {
          const { shareOf, secondsLeft, leftText } = await load("file-queue.js");
          const file = (size, uploaded, transcribed, state) => ({ size, uploaded, transcribed, state });
          return [
            [
              shareOf([]),
              shareOf([file(1, 0, 0, "waiting"), file(9, 1, 1, "done")]),
              shareOf([file(10, 1, 0.5, "transcribing")]),
              shareOf([file(5, 0, 0, "failed"), file(5, 0, 0, "waiting")]),
            ],
            [secondsLeft(0, 10) ?? null, secondsLeft(0.25, 30), secondsLeft(1, 30)],
            [undefined, NaN, 4, 44, 61, 3000, 7200].map(leftText),
          ];
        }""",
    )
    assert shares == pytest.approx([0, 0.9, 0.65, 0.5])
    assert left == [None, 90, 0]
    assert texts == [
        "", "", "a few seconds left",
        "about 50 s left", "about 1 min left", "about 50 min left", "about 2 h left",
    ]  # fmt: skip


async def test_a_dropped_folder_is_read_to_its_end_and_only_for_recordings(page):
    names, skipped, cut, many = await computed(
        page,
        """async (load) => {
          const { dropped, MAX_FILES } = await load("dropped.js");
          const file = (path, type = "") => ({
            isFile: true, fullPath: path, name: path.split("/").pop(),
            file: (resolve) => resolve(new File(["x"], path.split("/").pop(), { type })),
          });
          const folder = (path, inside) => ({
            isDirectory: true, fullPath: path,
            createReader: () => {
              const rest = [...inside];
              return { readEntries: (resolve) => resolve(rest.splice(0, 100)) };
            },
          });
          const item = (entry) => ({ webkitGetAsEntry: () => entry });
          const items = (...entries) => ({ items: entries.map(item) });
          const talks = Array.from({ length: 250 }, (_, n) => file(`/talks/deep/t${n}.MP3`));
          const rest = [["/talks/.hidden.mp3"], ["/talks/notes.txt"], ["/talks/x.bin", "video/x"]];
          const other = rest.map((each) => file(...each));
          const whole = folder("/talks", [folder("/talks/deep", talks), ...other]);
          const found = await dropped(items(whole, file("/a.xyz")));
          const all = Array.from({ length: MAX_FILES + 1 }, (_, n) => file(`/all/${n}.wav`));
          const most = await dropped(items(folder("/all", all)));
          const names = found.files.map(({ name }) => name);
          return [names, found.skipped, found.cut, [most.files.length, most.cut]];
        }""",
    )
    assert len(names) == 252
    assert {"a.xyz", "talks/x.bin", "talks/deep/t0.MP3", "talks/deep/t249.MP3"} <= set(names)
    assert names.index("talks/deep/t9.MP3") < names.index("talks/deep/t10.MP3")
    assert (skipped, cut) == (2, False)
    assert many == [1000, True]


# --- the history --------------------------------------------------------------------------------------


async def test_the_history_keeps_200_transcripts_and_the_audio_of_30(page):
    ids, playable = await computed(
        page,
        """async (load) => {
          const history = await load("history.js");
          for (let n = 0; n < 203; n++) {
            await history.keep({ id: `f${n}`, name: "n", created: n, file: new Blob(["sound"]) });
          }
          const found = await history.entries();
          return [found.map(({ id }) => id), found.filter(({ file }) => file).map(({ id }) => id)];
        }""",
    )
    assert ids == [f"f{n}" for n in range(202, 2, -1)]
    assert playable == ids[:30]


# --- the waveform -------------------------------------------------------------------------------------

PEAKS = """async (load, data, name, duration) => {
  const { peaksOf } = await load("peaks.js");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const file = new File([bytes], name);
  let largest = 0;
  const measured = {
    name, size: file.size, type: file.type, arrayBuffer: () => file.arrayBuffer(),
    slice: (from, to) => { largest = Math.max(largest, to - from); return file.slice(from, to); },
  };
  const bars = await peaksOf(measured, duration);
  return [bars && [...bars], largest];
}"""


def steps(rate: int, seconds: int) -> np.ndarray:
    """Silence, a quiet and a loud tone, a third of the time each."""
    time = np.arange(rate * seconds) / rate
    return np.sin(2 * np.pi * 440 * time) * np.repeat([0, 0.25, 0.5], rate * seconds // 3)


def check_steps(bars: list[int]) -> None:
    assert len(bars) == 600
    silent, quiet, loud = (np.array(bars[at : at + 160]) for at in (20, 220, 420))
    assert silent.max() < 10
    assert abs(quiet.mean() - 127) < 15
    assert loud.mean() > 240


def base(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
async def test_a_wav_file_is_read_in_pieces(page, subtype):
    out = io.BytesIO()
    sound = steps(48_000, 6)
    soundfile.write(out, np.stack([sound, sound], axis=1), 48_000, subtype=subtype, format="WAV")
    bars, largest = await computed(page, PEAKS, base(out.getvalue()), "a.wav", 36_000)
    check_steps(bars)
    assert largest <= 1 << 20, "bytes that are in memory at a time"


async def test_a_long_mp3_is_decoded_in_pieces_and_a_short_file_whole(page, tmp_path):
    path = tmp_path / "steps.wav"
    soundfile.write(path, steps(16_000, 240), 16_000, subtype="PCM_16")
    mp3 = encoded(path, "mp3")
    bars, largest = await computed(page, PEAKS, base(mp3), "a.mp3", 36_000)
    silent, quiet, loud = (np.array(bars[at : at + 140]) for at in (30, 230, 430))
    assert np.median(silent) < 40
    assert np.median(silent) < np.median(quiet) < np.median(loud)
    assert largest <= 1 << 20
    whole, _ = await computed(page, PEAKS, base(mp3), "a.mp3", 240)
    check_steps(whole)


async def test_what_cannot_be_decoded_has_no_peaks(page):
    for content, name, duration in (
        (b"no sound" * 100, "a.mp3", 10),
        (b"no sound" * 100, "a.mp3", 36_000),
        (JFK.read_bytes(), "a.flac", 36_000),  # too long to be decoded whole
        (b"RIFF\x00\x00\x00\x00WAVEfmt \x01", "a.wav", 10),
        (b"RIFF\x00\x00\x00\x00WAVEfmt \xff\xff\xff\xff" + bytes(60), "a.wav", 10),
    ):
        bars, _ = await computed(page, PEAKS, base(content), name, duration)
        assert bars is None, name
