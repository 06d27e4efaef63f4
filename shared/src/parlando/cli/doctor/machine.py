"""The machine: ports, folders, disk, open files, and who may connect."""

import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx

from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Finding, ok, problem, warning
from parlando.embedded.redis_server import is_free
from parlando.folders import data_folder
from parlando.models.store import default_cache
from parlando.public_addresses import is_loopback

GB: Final = 1 << 30
LEAST_FREE: Final = GB
GOOD_FREE: Final = 5 * GB
OPEN_FILES: Final = 1024 + 480
"""A gateway keeps 480 for itself."""
SHORTEST_KEY: Final = 16  # characters


def check(configured: Configured) -> Iterator[Finding]:
    """All findings about this machine."""
    scheme = "https" if configured.tls_cert else "http"
    headers = {"Authorization": f"Bearer {configured.keys[0]}"} if configured.keys else {}
    yield port("gateway", configured.port, 8000, "PORT", scheme=scheme, headers=headers)
    yield port("audio-processor", configured.processor_port, 8001, "PROCESSOR_PORT")
    yield from folders(configured)
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield from keys(configured, Path(".env"))


def port(
    service: str,
    configured: int | None,
    usual: int,
    setting: str,
    *,
    scheme: str = "http",
    headers: Mapping[str, str] | None = None,
) -> Finding:
    """Whether the port of a service is free, or the service itself has it, which speaks `scheme`.

    Its certificate isn't checked: it has another name than 127.0.0.1.
    """
    number = configured or usual
    if is_free(number):
        return ok("ports", f"{number} is free for the {service}")
    try:
        address = f"{scheme}://127.0.0.1:{number}/health"
        health = httpx.get(address, headers=headers, timeout=5, verify=False).json()  # noqa: S501
        return ok("ports", f"{number}: Parlando {health['version']} ({health['status']})")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        found = f"{number} is used by another program"
    if configured is None:
        return warning(
            "ports", found, f"parlando up takes the next free port and says which; {setting} sets one"
        )
    return problem("ports", found, f"end that program, or set {setting} to another port")


def folders(configured: Configured) -> Iterator[Finding]:
    """Whether the folders can be written, and how much room they have."""
    named = {
        "blobs": _local(configured.blob_url) if configured.blob_url else data_folder("blobs"),
        "archive": _local(configured.archive_url) if configured.archive_url else data_folder("archive"),
        "models": default_cache(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    if configured.redis_durable:
        named["redis"] = data_folder("redis")
    for name, folder in named.items():
        if folder is not None:
            yield folder_of(name, folder)
    redis = named.get("redis")
    if redis and redis.exists() and stat.S_IMODE(redis.stat().st_mode) & 0o077:
        yield problem("folders", f"{redis} holds audio, and others can read it", f"chmod 700 {redis}")


def _local(url: str) -> Path | None:
    return None if url.startswith("s3://") else Path(url.removeprefix("file://")).expanduser()


def folder_of(name: str, folder: Path, *, free: int | None = None) -> Finding:
    """One folder, or the nearest one above it that exists. `free`: bytes; None to measure."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return problem(
            "folders",
            f"{name}: {folder} can't be written by user {os.getuid()}",
            f"chown -R {os.getuid()} {there}, or configure another folder (docs/settings.md)",
        )
    room = shutil.disk_usage(there).free if free is None else free
    shown = f"{name}: {folder}, {room / GB:.1f} GB free"
    if room < LEAST_FREE:
        return problem("folders", shown, "free some: uploads and models fail without room")
    if room < GOOD_FREE:
        return warning("folders", shown, "free some: one upload may take MAX_UPLOAD_MB")
    return ok("folders", shown)


def open_files(limit: int) -> Finding:
    """The hard limit of open files, to which a gateway raises its own."""
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES:
        return warning(
            "open files",
            f"{limit}: a gateway takes {max(0, limit - 480)} connections",
            "raise the hard limit: ulimit -Hn, LimitNOFILE or ulimits",
        )
    return ok("open files", "unlimited" if limit == resource.RLIM_INFINITY else str(limit))


def keys(configured: Configured, env_file: Path) -> Iterator[Finding]:
    """API keys, compared with the address on which the gateway listens."""
    if not configured.keys:
        host = configured.host
        if host and not is_loopback(host):
            yield problem(
                "keys",
                f"HOST={host}, but no API_KEYS: the gateway doesn't start",
                "set API_KEYS to serve other machines (openssl rand -hex 24), or remove HOST",
            )
        else:
            yield ok("keys", "none: this machine only")
        return
    short = sum(len(key) < SHORTEST_KEY for key in configured.keys)
    if short:
        yield warning(
            "keys",
            f"{short} of {len(configured.keys)} are shorter than {SHORTEST_KEY} characters",
            "make longer ones: openssl rand -hex 24",
        )
    else:
        yield ok("keys", f"{len(configured.keys)}")
    if (
        env_file.is_file()
        and stat.S_IMODE(env_file.stat().st_mode) & 0o004
        and "API_KEY" in env_file.read_text()
    ):
        yield warning("keys", "every user of this machine can read .env", "chmod 600 .env")
