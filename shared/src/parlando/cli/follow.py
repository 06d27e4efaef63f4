"""`parlando follow PACKAGE.MODULE:CLASS …`: a worker process that runs followers of the feed."""

import importlib
import sys
from pathlib import Path

from parlando.errors import ParlandoError
from parlando.settings import ServiceSettings
from parlando.worker.follower import Follower, FollowerService
from parlando.worker.service import run_worker


def load(places: list[str]) -> list[Follower]:
    """Import and instantiate followers. Raises `ParlandoError` if a name does not refer to one."""
    sys.path.insert(0, str(Path.cwd()))
    followers: list[Follower] = []
    for place in places:
        module, _, name = place.partition(":")
        try:
            made = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError, ValueError) as error:
            raise ParlandoError(f"{place}: expected package.module:Class ({error})") from error
        if not isinstance(made, Follower):
            raise ParlandoError(f"{place}: expected a parlando.worker.follower.Follower")
        followers.append(made)
    return followers


def run(places: list[str], *, metrics_port: int) -> int:
    """Run until SIGTERM or Ctrl-C."""
    settings = ServiceSettings()
    followers = load(places)
    return run_worker(
        "follower", settings, lambda: FollowerService(settings, followers), metrics_port=metrics_port
    )
