"""Long transcripts in pieces, cut between passages. Pure."""

from collections.abc import Iterator, Sequence

from analyzer.document import Passage


def pieces_of(passages: Sequence[Passage], most: int) -> Iterator[list[Passage]]:
    """Consecutive passages of at most `most` characters together; a longer one is a piece of its own."""
    piece: list[Passage] = []
    size = 0
    for passage in passages:
        if piece and size + len(passage.text) > most:
            yield piece
            piece, size = [], 0
        piece.append(passage)
        size += len(passage.text)
    if piece:
        yield piece


def lines_of(passages: Sequence[Passage]) -> list[dict[str, str]]:
    """The passages as data for a language model."""
    return [
        {"text": passage.text} | ({"speaker": passage.speaker} if passage.speaker else {})
        for passage in passages
    ]
