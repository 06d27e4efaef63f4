"""The benchmarks' own arithmetic: figures from what clients saw, tables, the report."""

from pathlib import Path

import numpy as np
import pytest

from bench import report
from bench.engines import Step, step, table
from bench.load import Session
from bench.peers.measuring import Figures, figures
from bench.peers.parlando_native import PARLANDO, Native
from bench.peers.table import COLUMNS, comparison
from bench.peers.whisperlive import Segments
from bench.peers.whisperlivekit import EVERY_SECOND, LOCAL_AGREEMENT, Asr
from bench.results import Table
from bench.streams import RATE, Stream, stream
from bench.traces import Progress, Trace, first_words, word_errors
from support.speech import Clip

TEXTS = ["the quick brown fox", "jumps over", "a lazy dog sleeps"]
ONSETS = [0.5, 3.0, 5.0]


def seen(*shown: tuple[float, str], ended: float = 8.0) -> Trace:
    """A trace that started at second 100 of its clock."""
    trace = Trace(started=100.0, ended=100.0 + ended)
    for at, text in shown:
        trace.show(100.0 + at, text)
    return trace


def test_first_words_count_from_the_start_of_each_clips_speech():
    trace = seen(
        (1.5, "The"),
        (2.0, "The quick brown fox"),
        (4.0, "The quick brown fox jumps"),
        (5.75, "The quick brown fox jumps over a"),
    )
    assert first_words(trace, TEXTS, ONSETS) == pytest.approx([1.0, 1.0, 0.75])


def test_late_words_of_the_clip_before_are_no_first_words_of_this_one():
    trace = seen((3.5, "the quick"), (4.5, "the quick brown fox"), (6.0, "the quick brown fox jumps over"))
    assert first_words(trace, TEXTS, ONSETS) == [pytest.approx(3.0), pytest.approx(3.0), None]


def test_words_behind_audio_that_was_dropped_are_those_of_their_own_clip():
    texts = ["one fish", " ".join(f"lost{n}" for n in range(12)), "red fish blue fish old fish new fish"]
    trace = seen((1.0, "one fish"), (20.0, "one fish red fish blue fish"))
    delays = first_words(trace, texts, [0.5, 2.0, 15.0])
    assert delays[0] == pytest.approx(0.5)
    assert delays[2] == pytest.approx(5.0)


def test_a_word_is_not_that_of_a_clip_that_has_not_begun():
    trace = seen((1.0, "a lazy dog sleeps"))
    assert first_words(trace, TEXTS, ONSETS)[2] is None


def test_progress_is_the_same_whatever_was_shown_before():
    spoken = ["to", "be", "or", "not", "to", "be", "that", "is", "the", "question"]
    shown = ["to be", "to bee or", "two bee or not to be", "to be or knot", "", "to be or not to be that is"]
    growing = Progress(spoken)
    assert [growing.reached(text.split()) for text in shown] == [
        Progress(spoken).reached(text.split()) for text in shown
    ]
    assert growing.reached(["to", "be", "or", "not"]) == 4


def test_text_that_was_made_up_reaches_nothing():
    spoken = ["the", "quick", "brown", "fox"]
    assert Progress(spoken).reached([]) == 0
    assert Progress(spoken).reached(["thank", "you"]) == 0
    assert Progress(spoken).reached(["the", "quick", "thank", "you", "for", "watching"]) == 2


def test_the_tail_ends_with_the_last_change_of_the_text():
    trace = seen((7.0, "a"), (9.0, "a b"), (12.5, "a b"))
    assert trace.tail_s == pytest.approx(1.0)
    assert trace.text == "a b"
    assert seen((7.0, "a")).tail_s == 0
    assert seen().tail_s == 0


def test_word_errors_tell_missing_words_from_wrong_ones():
    errors = word_errors(["It's the quick, brown fox!"], ["it is a quick fox fox"])
    assert (errors.spoken, errors.wrong, errors.missing, errors.added) == (6, 2, 0, 0)
    errors = word_errors(["the quick brown fox", "jumps over"], ["the quick", "jumps high over"])
    assert (errors.missing, errors.added) == (2, 1)
    assert errors.rate == pytest.approx(50)
    assert errors.missing_rate == pytest.approx(100 / 3)


def clip(name: str, text: str) -> Clip:
    return Clip(Path(f"{name}.flac"), text, "a_english_read")


def said() -> Stream:
    clips = tuple(clip(str(number), text) for number, text in enumerate(TEXTS))
    return Stream(np.zeros(8 * RATE, np.int16), clips, tuple(ONSETS), tuple(ONSETS))


WHOLE = dict(zip(("0", "1", "2"), TEXTS, strict=True))


def test_a_session_that_failed_counts_as_failed_and_in_no_other_figure():
    good = seen((2.0, TEXTS[0]), (4.0, " ".join(TEXTS[:2])), (9.0, " ".join(TEXTS)))
    refused = Trace(failure="1013")
    found = figures("x", [said(), said()], [good, refused], WHOLE, cpu=1.5, memory_mb=300)
    assert (found.sessions, found.failed, found.wer, found.wer_offline) == (2, 1, 0, 0)
    assert (found.first_p50, found.tail_max, found.unseen) == (pytest.approx(1.5), pytest.approx(1.0), 0)
    nobody = figures("x", [said()], [refused], WHOLE, cpu=0, memory_mb=0)
    assert (nobody.failed, nobody.wer, nobody.first_p95, nobody.tail_max) == (1, None, None, None)


def test_clips_that_were_never_shown_are_counted():
    found = figures("x", [said()], [seen((2.0, TEXTS[0]))], WHOLE, cpu=0, memory_mb=0)
    assert found.unseen == pytest.approx(200 / 3)
    assert found.missing == pytest.approx(60)
    assert found.tail_max == 0


def test_the_comparison_names_versions_and_flags_and_has_a_row_for_each_step():
    step = figures("Parlando", [said()], [seen((2.0, " ".join(TEXTS)))], WHOLE, cpu=0.5, memory_mb=512)
    late = Figures("WhisperLiveKit", 2, 2, *[None] * 8, cpu=2.0, memory_mb=1024)
    systems = (PARLANDO, LOCAL_AGREEMENT)
    text = comparison([step, late], systems, {"parlando": "0.1", "whisperlivekit": "9.9"}, 60).markdown()
    header, _, *rows = text.splitlines()
    assert header.count("|") == len(COLUMNS) + 1
    assert {row.count("|") for row in rows[:3]} == {len(COLUMNS) + 1}
    assert rows[1].startswith("| WhisperLiveKit | 2 | – |")
    assert rows[2].startswith("| offline, beam 5 | 1 | 0 |")
    assert "WhisperLiveKit 9.9: `whisperlivekit-server --backend faster-whisper" in text
    assert "--min-chunk-size 1" in EVERY_SECOND.flags


def shown(dialect: Native | Asr | Segments, *messages: dict) -> list[str]:
    texts = []
    for message in messages:
        dialect.take(message)
        texts.append(dialect.text)
    return texts


def test_native_events_show_finals_and_the_open_segment():
    dialect = Native()
    assert shown(
        dialect,
        {"type": "partial", "segment": 0, "text": "the quack"},
        {"type": "final", "segment": 0, "text": "the quick"},
        {"type": "partial", "segment": 1, "text": "brown"},
        {"type": "ack", "offset": 5},
    ) == ["the quack", "the quick", "the quick brown", "the quick brown"]
    assert not dialect.closed
    dialect.take({"type": "closed", "duration": 1.0})
    assert dialect.closed


def test_whisperlivekit_shows_lines_and_buffer():
    dialect = Asr()
    line = {"text": "the quick", "speaker": 1}
    assert shown(
        dialect,
        {"type": "config", "useAudioWorklet": True},
        {"lines": [line, {"text": None}], "buffer_transcription": "brown"},
        {"type": "ready_to_stop"},
    ) == ["", "the quick brown", "the quick brown"]
    assert dialect.closed


def test_whisperlive_keeps_segments_that_have_left_its_last_ten():
    dialect = Segments()
    assert not dialect.ready
    assert shown(
        dialect,
        {"uid": "x", "message": "SERVER_READY", "backend": "faster_whisper"},
        {"segments": [{"start": "0.0", "text": " one", "completed": True}, {"start": "1.0", "text": " tow"}]},
        {"segments": [{"start": "1.0", "text": " two", "completed": True}]},
    ) == ["", "one tow", "one two"]
    assert dialect.ready
    dialect.take({"uid": "x", "status": "WAIT", "message": 1.5})
    assert dialect.refused == "WAIT: 1.5"
    assert np.frombuffer(dialect.frame(np.array([-32768, 16384], np.int16)), "<f4").tolist() == [-1.0, 0.5]


def native(*events: tuple[float, dict], sent: int = 8 * RATE) -> Session:
    return Session(started=100.0, sent=sent, events=[(100.0 + at, event) for at, event in events])


def test_an_engines_step_takes_finals_from_the_endpoint_on():
    session = native(
        (1.5, {"type": "partial", "segment": 0, "text": "the"}),
        (3.0, {"type": "final", "segment": 0, "text": "the quick brown fox", "end": 2.25}),
        (4.0, {"type": "final", "segment": 1, "text": "jumps over", "end": 3.25}),
        (7.0, {"type": "final", "segment": 2, "text": "a lazy dog sleeps", "end": 6.25}),
        (8.0, {"type": "closed", "duration": 8.0}),
    )
    found = step("moonshine", [said()], [session], WHOLE, memory_mb=100, cpu=0.5)
    assert (found.wer, found.lost, found.final_p50, found.first_p50) == (0, 0, pytest.approx(0.25), 1.0)
    assert found.kept
    cut = native(*[(at - 100, event) for at, event in session.events[:-1]])
    assert not step("moonshine", [said()], [cut], WHOLE, memory_mb=100, cpu=0.5).kept


def test_an_engines_capacity_is_the_largest_number_served_in_time():
    good = Step("whisper-base", 2, 8.0, 7.5, 0.8, 2.4, 0.2, 1.4, 0, 400.0, 1.2)
    late = Step("whisper-base", 4, 8.0, 7.5, 0.8, 2.6, 0.2, 1.4, 0, 400.0, 1.9)
    none = Step("moonshine", 1, 8.0, 7.5, None, None, None, None, 0, 90.0, 0.1)
    found = table([good, late, none], 60)
    assert found.data["best"] == {"whisper-base": 2, "moonshine": 0}
    assert len(found.rows[0]) == len(found.columns)
    assert "whisper-base 2, moonshine 0" in found.remarks[0]


def test_the_same_seed_gives_the_same_stream_and_onsets_lie_in_their_clips():
    one, again, other = stream(3, 20), stream(3, 20), stream(4, 20)
    assert np.array_equal(one.pcm, again.pcm)
    assert one.onsets == again.onsets
    assert one.clips != other.clips
    assert 10 <= len(one.pcm) / RATE <= 20
    assert all(before < after for before, after in zip(one.onsets, one.onsets[1:], strict=False))
    assert 0.5 <= one.onsets[0] < 3


def test_the_report_replaces_what_was_measured_and_keeps_the_rest():
    result = {
        **Table("latency", "One session", ("what", "ms"), [("first", 333.0)]).__dict__,
        "machine": "two cores",
        "date": "2026-11-26",
    }
    new = report.section(result, "bench-latency.svg")
    assert new.startswith("## One session\n\n| what | ms |\n")
    assert "images/bench-latency.svg" in new
    assert "*2026-11-26, two cores*" in new
    before = report.merged("", {"latency": "old\n", "costs": "kept\n"})
    after = report.merged(before, {"latency": new, "peers": "first\n"})
    assert "old" not in after
    places = [after.index(f"<!-- {name} -->") for name in ("peers", "latency", "costs")]
    assert places == sorted(places)
    assert report.merged(after, {}) == after
