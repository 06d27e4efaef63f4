"""Real Whisper weights, which `make test` has fetched."""

from pathlib import Path

from parlando.models.catalogue import WHISPER_TINY_EN
from parlando.models.store import ModelStore


def whisper_tiny_en() -> Path:
    """The store's folder of Whisper tiny.en, a model of CTranslate2."""
    return ModelStore().path(WHISPER_TINY_EN)
