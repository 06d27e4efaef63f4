"""Runs images as compose and the chart do: as their user, without rights, on a read-only root file system.

buildah's own `run` has no read-only root, so the containers are made of mount namespaces and chroot. They
share this machine's network and processes.
"""

import errno
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from images.base import run

START: Final = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done; shift
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""
"""A script for `unshare --mount`: root, pairs of a folder and its place in the container, `--`, a command."""
DROPPED: Final = (
    "setpriv",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
)
"""`cap_drop: [ALL]` and `no-new-privileges` of compose."""


def name_of(service: str) -> str:
    """The image of a service."""
    return f"localhost/parlando-{service}"


class Image:
    """The files of an image, mounted; several containers share them, since none can write to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._container = run("buildah", "from", "--pull-never", name)
        self.root = Path(run("buildah", "mount", self._container))
        config = json.loads(run("buildah", "inspect", "--type", "image", name))["OCIv1"]["config"]
        self.user: str = config.get("User", "")
        self.folder: str = config.get("WorkingDir") or "/"
        self.command: list[str] = config["Cmd"]
        self.environment: list[str] = config["Env"]

    def started(
        self,
        command: list[str] | None = None,
        *,
        volumes: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a command, or the image's own. Returns its process, not that of a wrapper."""
        assert self.user not in ("", "0", "root"), f"{self.name} has the user {self.user!r}"
        places = [str(part) for pair in (volumes or {}).items() for part in pair]
        variables = [*self.environment, *(f"{name}={value}" for name, value in (environment or {}).items())]
        call = ["unshare", "--mount", "--propagation", "private", "sh", "-c", START, "sh", str(self.root)]
        call += [*places, "--", "env", "-i", f"--chdir={self.folder}", *variables]
        call += [*DROPPED, f"--reuid={self.user}", f"--regid={self.user}", *(command or self.command)]
        return subprocess.Popen(["nice", "-n", "5", *call], **options)

    def output(self, *command: str) -> str:
        """What a command prints in a container of this image. Ends the check if it fails."""
        process = self.started(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        printed, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed in {self.name}:\n{errors[-3000:]}")
        return str(printed)

    def remove(self) -> None:
        """Unmount and delete the container that holds the files."""
        run("buildah", "umount", self._container)
        run("buildah", "rm", self._container)


class Service:
    """A running container of a service, which logs to a file."""

    def __init__(
        self, name: str, image: Image, log: Path, volumes: Mapping[Path, str], environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self.process = image.started(
                volumes=volumes, environment=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        self.user = int(image.user)

    @property
    def runs(self) -> bool:
        """Whether the service's process is alive."""
        return self.process.poll() is None

    def check_rights(self) -> None:
        """Ask the kernel: the process has the image's user and no capabilities, and the root is read-only."""
        folder = Path("/proc") / str(self.process.pid)
        status = dict(
            line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
        )
        assert set(status["Uid"].split()) == {str(self.user)} != {"0"}, status["Uid"]
        assert set(status["Gid"].split()) == {str(self.user)}, status["Gid"]
        for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, f"{self.name} has {name} {status[name]}"
        assert status["NoNewPrivs"] == "1"
        mounts = [line.split() for line in (folder / "mountinfo").read_text().splitlines()]
        [root] = [fields for fields in mounts if fields[4] == "/"]
        assert "ro" in root[5].split(","), root
        for place in (
            "",
            "etc",
            "venv",
            "app",
            "home",
            "var",
            "models",
        ):  # as root, whom only the mount stops
            if (folder / "root" / place).is_dir():
                assert _refused(folder / "root" / place / "written"), f"{self.name} can write to /{place}"

    def stop(self) -> int:
        """SIGTERM. Returns the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.runs:
            self.process.kill()
        self.process.wait()


def _refused(file: Path) -> bool:
    """Whether the file can't be made because its file system is read-only."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        return error.errno == errno.EROFS
    return False
