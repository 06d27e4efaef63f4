"""Guards against text that recognisers hallucinate. Pure."""

import zlib
from collections.abc import Sequence
from typing import Final

LONGEST_PHRASE: Final = 8  # tokens of a repeated phrase, at most
REPEATS: Final = 4  # consecutive repetitions at the end that count as a loop
MAX_COMPRESSION: Final = 2.4  # Whisper's threshold; real prose with many repetitions reaches 2.24


def truncate_repetition(tokens: Sequence[int], *, keep: int = 0) -> list[int]:
    """`tokens` with a phrase that repeats at the end cut to one occurrence; the first `keep` tokens stay."""
    kept = list(tokens)
    for length in range(1, min(LONGEST_PHRASE, len(kept) // REPEATS) + 1):
        phrase = kept[-length:]
        count = 1
        while (count + 1) * length <= len(kept) and kept[-(count + 1) * length : -count * length] == phrase:
            count += 1
        if count >= REPEATS:
            return kept[: max(keep, len(kept) - (count - 1) * length)]
    return kept


def compression(text: str) -> float:
    """The ratio by which zlib compresses `text`; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
