"""Where `parlando transcribe --out` writes the results of several files."""

from pathlib import Path

import pytest

from parlando.cli.transcribe import files_of, targets_of
from parlando.client import ClientError


def names(*files: str) -> list[str]:
    targets = targets_of([Path(file) for file in files], Path("out"), "txt")
    assert len(set(targets.values())) == len(files)
    return [str(targets[Path(file)]) for file in files]


def test_the_stem_is_the_name():
    assert names("a/talk.wav", "b/other.mp3") == ["out/talk.txt", "out/other.txt"]


def test_equal_stems_keep_their_suffix():
    assert names("talk.wav", "talk.mp3", "x.wav") == ["out/talk.wav.txt", "out/talk.mp3.txt", "out/x.txt"]


def test_equal_names_keep_their_folders():
    assert names("same/a/talk.wav", "same/b/talk.wav", "same/c.wav") == [
        "out/a/talk.wav.txt",
        "out/b/talk.wav.txt",
        "out/c.txt",
    ]


def test_no_two_results_have_one_name():
    assert names("talk.wav", "talk.mp3", "x/talk.wav.ogg") == [
        "out/talk.wav.txt",
        "out/talk.mp3.txt",
        "out/talk.wav-2.txt",
    ]


def test_a_folder_stands_for_the_media_in_it_and_in_its_subfolders(tmp_path):
    for name in ("b.WAV", "a/film.mkv", "a/notes.txt", "c.opus"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(file.relative_to(tmp_path)) for file in files_of([str(tmp_path)])]
    assert found == ["a/film.mkv", "b.WAV", "c.opus"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClientError, match="No audio or video files"):
        files_of([str(tmp_path / "empty")])
