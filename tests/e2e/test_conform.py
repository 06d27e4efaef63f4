"""`parlando conform`, as a stranger runs it against a host."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parlando.cli.conform.drivers.table import DRIVERS
from support.cluster import Cluster
from support.ports import free_port

PARLANDO = Path(sys.executable).parent / "parlando"


@pytest.fixture(scope="module")
def cluster():
    wyoming = free_port()
    with Cluster(transcribers=1, processors=1, API_KEYS="key", WYOMING_PORT=str(wyoming)) as cluster:
        cluster.wyoming = f"tcp://127.0.0.1:{wyoming}"
        yield cluster


def conform(*arguments: str) -> subprocess.CompletedProcess:
    command = [PARLANDO, "conform", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env={"COLUMNS": "200"})


@pytest.mark.parametrize("dialect", DRIVERS)
def test_this_host_conforms(cluster, dialect):
    url = cluster.wyoming if dialect == "wyoming" else cluster.http()
    done = conform("--url", url, "--key", "key", "--dialect", dialect, "--fast")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") >= 5
    assert "your country" in done.stdout.lower()


def test_this_host_conforms_in_real_time(cluster):
    """No session ends before its clip does, in whatever dialect: the clip is longer than their windows."""

    def at_once(dialect: str) -> subprocess.CompletedProcess:
        url = cluster.wyoming if dialect == "wyoming" else cluster.http()
        return conform("--url", url, "--key", "key", "--dialect", dialect)

    with ThreadPoolExecutor(len(DRIVERS)) as threads:
        for dialect, done in zip(DRIVERS, threads.map(at_once, DRIVERS), strict=True):
            assert done.returncode == 0, f"{dialect}: {done.stdout}{done.stderr}"


def test_a_host_with_another_transcript_does_not(cluster):
    done = conform(
        "--url", cluster.http(), "--key", "key", "--fast", "--said", "something else was said here"
    )
    assert done.returncode == 1
    assert "failed" in done.stdout


def test_what_can_not_be_checked_is_said(cluster):
    done = conform("--url", f"http://127.0.0.1:{free_port()}", "--fast")
    assert done.returncode == 2
    assert "can't be reached" in done.stderr
    done = conform("--url", cluster.http(), "--dialect", "klingon")
    assert done.returncode == 1
    assert "Expected a dialect (native" in done.stderr
