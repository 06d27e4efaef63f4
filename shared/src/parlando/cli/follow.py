"""`parlando follow PACKAGE.MODULE:CLASS …`: a worker process that runs followers of the feed."""

import sys
from pathlib import Path

from parlando import plugins
from parlando.settings import ServiceSettings
from parlando.worker.follower import Follower, FollowerService
from parlando.worker.service import run_worker


def load(places: list[str]) -> list[Follower]:
    """Import and instantiate followers. Raises `PluginError`."""
    sys.path.insert(0, str(Path.cwd()))
    followers: list[Follower] = []
    for place in places:
        made = plugins.load(place)()
        if not isinstance(made, Follower):
            raise plugins.PluginError(f"{place}: expected a subclass of parlando.worker.follower.Follower")
        followers.append(made)
    return followers


def run(places: list[str], *, metrics_port: int) -> int:
    """Run until SIGTERM or Ctrl-C."""
    settings = ServiceSettings()
    followers = load(places)
    return run_worker(
        "follower", settings, lambda: FollowerService(settings, followers), metrics_port=metrics_port
    )
