"""Guards against text that recognisers hallucinate. Pure."""

import zlib
from collections.abc import Sequence
from typing import Final

from parlando.domain.transcript import bare

LONGEST_PHRASE: Final = 8  # tokens of a repeated phrase, at most
REPEATS: Final = 4  # consecutive repetitions at the end that count as a loop
SUSPECT_REPEATS: Final = {1: 4, 2: 3}  # direct repetitions of a phrase of 1 or 2 words that are suspect …
SUSPECT_REPEATS_LONGER: Final = 2  # … and of a longer phrase
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


def repeats_phrase(words: Sequence[str]) -> bool:
    """Whether a phrase repeats in direct succession. People do say such things, but rarely."""
    folded = [bare(word) for word in words]
    for length in range(1, len(folded) // 2 + 1):
        needed = SUSPECT_REPEATS.get(length, SUSPECT_REPEATS_LONGER)
        run = 0  # consecutive words that are equal to the word `length` places before them
        for before, word in zip(folded, folded[length:], strict=False):
            run = run + 1 if before == word else 0
            if run >= length * (needed - 1):
                return True
    return False


def compression(text: str) -> float:
    """The ratio by which zlib compresses `text`; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
