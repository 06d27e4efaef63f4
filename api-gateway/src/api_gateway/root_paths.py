"""The path below which a reverse proxy publishes the gateway, such as `/parlando`, in requests. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_ROOT: Final = 200  # characters
_VALID: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def root_of(text: str) -> str | None:
    """The normal form of a root path, without a slash at its end; "" for `/`. None if it isn't one."""
    bare = text.strip().rstrip("/")
    return bare if not bare or (len(bare) <= MAX_ROOT and _VALID.fullmatch(bare)) else None


def path_below(scope: Mapping[str, Any]) -> str:
    """The path of a request below its root path."""
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    path: str = scope["path"]
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def in_ingress(scope: Mapping[str, Any]) -> bool:
    """Whether the request came with an accepted `X-Ingress-Path`: its page may be in a frame."""
    return bool(scope.get("parlando.ingress"))
