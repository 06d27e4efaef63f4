"""Where the Redis of `make run` keeps its data."""

import pytest

from parlando.embedded import redis_server
from parlando.errors import ParlandoError


def options(durable: bool, folder) -> dict[str, str]:
    line = redis_server.command(1, directory=folder, durable=durable)
    return dict(zip(line[1::2], line[2::2], strict=True))


def test_it_is_in_memory_unless_it_shall_be_durable(tmp_path):
    assert options(False, tmp_path)["--appendonly"] == "no"
    assert options(True, tmp_path)["--appendonly"] == "yes"
    assert options(True, tmp_path)["--appendfsync"] == "everysec"
    assert options(True, tmp_path)["--save"] == options(False, tmp_path)["--save"] == ""


def test_a_folder_in_memory_mode_goes_with_the_cluster():
    with redis_server.data_directory(durable=False) as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_the_durable_folder_is_private_stays_and_is_used_by_one_cluster_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for _ in range(2):
        with redis_server.data_directory(durable=True) as folder:
            assert folder == tmp_path / "parlando" / "redis"
            assert folder.stat().st_mode & 0o777 == 0o700
            with (
                pytest.raises(ParlandoError, match="Another cluster"),
                redis_server.data_directory(durable=True),
            ):
                pass
    assert folder.exists()
