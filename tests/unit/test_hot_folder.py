"""A hot folder: which recordings are complete, which are finished, and how results are called."""

import os

import pytest
from rich.console import Console

from parlando.cli import hot_folder
from parlando.cli.hot_folder import Journal, Settling, Version, free_name, recordings
from parlando.cli.transcribe import Order
from parlando.cli.watch import Watched, Watcher
from parlando.client import ClientError
from parlando.domain.subtitles import Format

ONE, TWO = Version(10, 1), Version(20, 2)


def names(folder, **more) -> list[str]:
    return sorted(recordings(folder, **more))


@pytest.fixture
def inbox(tmp_path):
    for name in (
        "a.wav",
        "sub/b.MP3",
        "sub/deep/c.mkv",
        ".d.wav",
        ".hidden/e.wav",
        "f.txt",
        "g.wav.part",
        "done/h.wav",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def test_recordings_are_media_in_visible_folders(inbox, monkeypatch):
    assert names(inbox) == ["a.wav", "done/h.wav", "sub/b.MP3", "sub/deep/c.mkv"]
    assert names(inbox, without=[inbox / "done"]) == ["a.wav", "sub/b.MP3", "sub/deep/c.mkv"]
    monkeypatch.setattr(hot_folder, "MOST_FILES", 2)
    with pytest.raises(ClientError, match="More than 2 recordings"):
        recordings(inbox)


def test_a_file_is_complete_when_it_has_stopped_to_change():
    settling = Settling(5)
    assert settling.settled({"a": ONE}, 0) == []
    assert settling.settled({"a": ONE}, 4.9) == []
    assert settling.settled({"a": TWO}, 5) == [], "it has grown"
    assert settling.settled({"a": TWO}, 9.9) == []
    assert settling.settled({"a": TWO}, 10) == ["a"]
    assert settling.settled({}, 11) == []
    assert settling.settled({"a": TWO}, 12) == [], "it is a new file"


def test_an_empty_file_is_not_complete():
    settling = Settling(1)
    empty = Version(0, 1)
    assert [settling.settled({"a": empty}, now) for now in (0, 1, 100)] == [[], [], []]


def test_the_journal_survives_a_restart_and_a_line_cut_off(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.add("a.wav", ONE, result="a.txt")
        journal.add("ü.wav", TWO, error="invalid_audio")
        journal.add("a.wav", TWO, result="a.txt")
    with path.open("a") as file:
        file.write('{"file": "b.wav", "si')
    with Journal(path) as journal:
        assert (journal.has("a.wav", ONE), journal.has("a.wav", TWO)) == (False, True)
        assert journal.has("ü.wav", TWO)
        assert not journal.has("b.wav", ONE)
        assert (journal.result_of("a.wav"), journal.result_of("ü.wav")) == ("a.txt", None)
        with pytest.raises(ClientError, match="Another process"), Journal(path):
            pass
        journal.add("c.wav", ONE, result="c.txt")
    with Journal(path) as journal:
        assert journal.has("c.wav", ONE), "the line behind one that was cut off counts"


def test_the_journal_keeps_the_newest_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(hot_folder, "MOST_FILES", 3)
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for number in range(10):
            journal.add(f"{number}.wav", ONE, result="x")
    with Journal(path) as journal:
        assert [number for number in range(10) if journal.has(f"{number}.wav", ONE)] == [7, 8, 9]
    assert len(path.read_text().splitlines()) == 3


def test_results_never_take_the_name_of_another_file(tmp_path):
    assert free_name(tmp_path, "sub/film.mkv", "srt", own=None) == "sub/film.srt"
    (tmp_path / "film.srt").write_text("somebody's own")
    assert free_name(tmp_path, "film.mkv", "srt", own=None) == "film.mkv.srt"
    (tmp_path / "film.mkv.srt").write_text("of another run")
    assert free_name(tmp_path, "film.mkv", "srt", own=None) == "film.mkv-2.srt"
    assert free_name(tmp_path, "film.mkv", "srt", own="film.mkv.srt") == "film.mkv.srt"
    assert free_name(tmp_path, "film.mkv", "vtt", own="film.mkv.srt") == "film.vtt"


@pytest.fixture
def watcher(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"x")
    watched = Watched(tmp_path / "in", Order(Format.TEXT, tmp_path / "out", {}), 0, tmp_path / "done")
    with Journal(tmp_path / "journal") as journal:
        yield Watcher(watched, journal, Console(quiet=True))


def due(watcher, now: float) -> list[str]:
    return [name for name, _ in watcher.due(watcher.files(), now)]


def test_a_recording_that_is_unfit_is_tried_once(watcher):
    [(name, version)] = watcher.due(watcher.files(), 0)
    watcher.fail(name, version, ClientError("invalid_audio", "no audio"), 0)
    assert due(watcher, 1e9) == []


def test_while_the_cluster_is_away_it_is_tried_again_with_pauses(watcher):
    [(name, version)] = watcher.due(watcher.files(), 0)
    now, pauses = 0.0, []
    for _ in range(8):
        watcher.fail(name, version, ClientError("unreachable", "nobody"), now)
        pause = next(pause for pause in range(1, 100) if due(watcher, now + pause))
        pauses.append(pause)
        now += pause
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_another_failure_is_tried_three_times_and_anew_when_the_file_changes(watcher, tmp_path):
    [(name, version)] = watcher.due(watcher.files(), 0)
    for number in range(3):
        assert due(watcher, number * 100) == ["a.wav"]
        watcher.fail(name, version, ClientError("engine_failed", "no"), number * 100)
    assert due(watcher, 1e9) == []
    (tmp_path / "in" / "a.wav").write_bytes(b"longer")
    assert due(watcher, 1e9 + 1) == ["a.wav"]


def test_a_wrong_key_ends_the_watch(watcher):
    [(name, version)] = watcher.due(watcher.files(), 0)
    with pytest.raises(ClientError, match="not_allowed"):
        watcher.fail(name, version, ClientError("not_allowed", "Expected a key"), 0)


def test_a_result_of_a_file_that_has_changed_meanwhile_is_dropped(watcher, tmp_path):
    [(name, version)] = watcher.due(watcher.files(), 0)
    path = tmp_path / "in" / "a.wav"
    path.write_bytes(b"xy")
    watcher.finish(name, version, b"half of it")
    assert not (tmp_path / "out").exists()
    [(_, whole)] = watcher.due(watcher.files(), 1)
    watcher.finish(name, whole, b"all of it")
    assert (tmp_path / "out" / "a.txt").read_text() == "all of it"
    assert os.listdir(tmp_path / "in") == []
    assert (tmp_path / "done" / "a.wav").read_bytes() == b"xy"


def test_moved_recordings_never_replace_others(watcher, tmp_path):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "a.wav").write_bytes(b"older")
    [(name, version)] = watcher.due(watcher.files(), 0)
    watcher.finish(name, version, b"text")
    assert (tmp_path / "done" / "a.wav").read_bytes() == b"older"
    assert (tmp_path / "done" / "a-2.wav").read_bytes() == b"x"
