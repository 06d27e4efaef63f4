"""Guards against what recognisers invent. Pure."""

import zlib
from collections.abc import Sequence
from typing import Final

LONGEST_PHRASE: Final = 8  # tokens of a repeated phrase
REPEATS: Final = 4  # so many in a row at the end are a loop
MAX_COMPRESSION: Final = 2.4  # Whisper's threshold; truly repetitive prose reaches 2.24


def cut_loop(tokens: Sequence[int], *, keep: int = 0) -> list[int]:
    """`tokens` with a loop at their end cut down to one turn; the first `keep` tokens always stay."""
    kept = list(tokens)
    for length in range(1, min(LONGEST_PHRASE, len(kept) // REPEATS) + 1):
        phrase = kept[-length:]
        turns = 1
        while (turns + 1) * length <= len(kept) and kept[-(turns + 1) * length : -turns * length] == phrase:
            turns += 1
        if turns >= REPEATS:
            return kept[: max(keep, len(kept) - (turns - 1) * length)]
    return kept


def compression(text: str) -> float:
    """How many times smaller zlib makes `text`; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
