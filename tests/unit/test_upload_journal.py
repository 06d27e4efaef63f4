"""Where unfinished uploads are noted between two runs of a program."""

import os

from parlando.client import upload_journal
from parlando.client.upload_journal import UploadJournal


def test_an_unchanged_file_is_found_again_by_the_same_caller_only(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"abc")
    folder = tmp_path / "uploads"
    UploadJournal(folder, url="http://a", api_key="k").keep(file, "http://a/v1/uploads/u_1")
    assert UploadJournal(folder, url="http://a", api_key="k").address(file) == "http://a/v1/uploads/u_1"
    assert UploadJournal(folder, url="http://b", api_key="k").address(file) is None
    assert UploadJournal(folder, url="http://a", api_key=None).address(file) is None
    file.write_bytes(b"abcd")
    assert UploadJournal(folder, url="http://a", api_key="k").address(file) is None


def test_what_is_forgotten_or_damaged_or_old_is_not_found(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"abc")
    folder = tmp_path / "uploads"
    journal = UploadJournal(folder, url="http://a", api_key="k")
    journal.keep(file, "address")
    [entry] = folder.iterdir()
    entry.write_text("{")
    assert journal.address(file) is None
    journal.keep(file, None)
    assert list(folder.iterdir()) == []
    journal.keep(file, None)
    journal.keep(file, "address")
    [entry] = folder.iterdir()
    os.utime(entry, (1, 1))
    other = tmp_path / "b.wav"
    other.write_bytes(b"abc")
    journal.keep(other, "address")
    assert journal.address(file) is None, "it has been removed"
    assert journal.address(other) == "address"


def test_a_folder_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    file = tmp_path / "a.wav"
    file.write_bytes(b"abc")
    journal = UploadJournal(file / "uploads", url="http://a", api_key=None)
    journal.keep(file, "address")
    assert journal.address(file) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(upload_journal.cache_folder()) == "/cache/parlando/uploads"
