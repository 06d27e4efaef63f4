"""Real Whisper weights, which `make test` has fetched."""

from pathlib import Path

from parlando.models.catalogue import WHISPER_BASE, WHISPER_TINY_EN
from parlando.models.store import ModelStore


def whisper_tiny_en() -> Path:
    """The store's folder of Whisper tiny.en, a model of CTranslate2."""
    return ModelStore().path(WHISPER_TINY_EN)


def whisper_base() -> Path:
    """The store's folder of Whisper base, a multilingual model of CTranslate2."""
    return ModelStore().path(WHISPER_BASE)


def fresh_store(folder: Path) -> dict[str, str]:
    """Environment variables of a store in `folder` that has tiny.en and nothing converted from it.

    openai-whisper finds nothing that it has downloaded either.
    """
    copy = folder / "models" / WHISPER_TINY_EN.name
    copy.mkdir(parents=True)
    for file in WHISPER_TINY_EN.files:
        (copy / file.name).symlink_to(whisper_tiny_en() / file.name)
    return {"PARLANDO_MODELS": str(copy.parent), "XDG_CACHE_HOME": str(folder / "cache")}
