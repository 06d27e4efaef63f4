"""Code from outside this repository, named in a setting as `package.module:name`."""

import importlib
from typing import Any

from parlando.errors import ParlandoError


class PluginError(ParlandoError):
    """Raised when a setting names code that can't be imported."""

    code = "plugin"


def load(place: str) -> Any:
    """What `package.module:name` names.

    Raises
    ------
    PluginError
        saying what is wrong with `place`.

    """
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise PluginError(f"Expected package.module:name, but got {place!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise PluginError(f"{place} can't be loaded: {error} (is it on PYTHONPATH?)") from error
