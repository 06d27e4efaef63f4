"""The base images of the Dockerfiles, made from Debian's packages: no registry of images is needed.

`python:3.11-slim` is Debian 12 with its own Python 3.11, `node:22-slim` the same with Debian's npm. They are
made for the check only: they hold this machine's pip and npm configuration and certificates, if it has any.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PYTHON: Final = "docker.io/library/python:3.11-slim"
NODE: Final = "docker.io/library/node:22-slim"
PACKAGES: Final = "python3,python3-pip,python3-venv,ca-certificates"
SUITE: Final = "bookworm"
CONFIGURATION: Final = (
    "/etc/pip.conf",
    "~/.config/pip/pip.conf",
    "~/.pip/pip.conf",
    "/etc/npmrc",
    "~/.npmrc",
)
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
TRUST: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")
"""Variables that name this file, for pip, Python, Node and curl."""


def run(*command: str | Path) -> str:
    """Run a command at a low priority. Returns its output; ends the check with its messages if it fails."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        ["nice", "-n", "10", *map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return done.stdout.strip()


def exists(image: str) -> bool:
    """Whether the image is on this machine."""
    found = subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True, check=False)
    return found.returncode == 0


def ensure(folder: Path) -> None:
    """Make both base images, unless this machine has them. `folder`: for files of the making."""
    if not exists(PYTHON):
        _python(folder / "base")
    if not exists(NODE):
        _committed(PYTHON, NODE, [["apt-get", "update"], _install("npm"), ["apt-get", "clean"]])


def _install(package: str) -> list[str]:
    return ["apt-get", "install", "-y", "--no-install-recommends", package]


def _python(root: Path) -> None:
    if not (root / "usr/bin/pip3").exists():
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root)
    (root / "usr/bin/python").unlink(missing_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
    (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    for name in CONFIGURATION:
        source = Path(name).expanduser()
        if source.is_file():
            target = root / (f"root/{name[2:]}" if name.startswith("~") else name[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    if Path(CERTIFICATES).is_file():
        shutil.copy(CERTIFICATES, root / CERTIFICATES[1:])
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    container = run("buildah", "from", "scratch")
    run("buildah", "add", container, root, "/")
    variables = [f"{name}={CERTIFICATES}" for name in TRUST]
    run("buildah", "config", *(part for each in variables for part in ("--env", each)), container)
    run("buildah", "commit", "--rm", container, PYTHON)


def _committed(base: str, image: str, commands: Sequence[Sequence[str]]) -> None:
    container = run("buildah", "from", "--pull-never", base)
    for command in commands:
        run("buildah", "run", container, "--", *command)
    run("buildah", "commit", "--rm", container, image)
