"""Cues of subtitles: how a transcript is cut into them, and how long each is shown, to be readable.

The defaults follow the published guidelines of Netflix (42 characters, 2 lines, 7 s, 20 characters a second,
2 frames between cues) and the BBC (break at the end of a sentence, a clause, or else between words). Pure.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from parlando.domain.transcript import UNSPACED, FinalSegment

MIN_CUE_S: Final = 1.0
CHARS_PER_S: Final = 20.0
GAP_S: Final = 0.08
"""Between two cues: two frames of a film. A shorter one would be seen as a flicker."""
CLOSED_S: Final = 0.5
"""A pause between two cues up to this length is filled by the first one."""
LINGER_S: Final = 0.5
"""How long a cue is shown after the last word, if there is time."""
LATER_S: Final = 0.5
"""How much later than its first word a cue may begin, so that a fast one before it can be read."""
SHORTEST_S: Final = 0.01
PAUSE_S: Final = 2.0
"""No cue contains a longer pause."""
BREATH_S: Final = 0.3
_SENTENCE: Final = (".", "!", "?", "…", "。", "！", "？")
_CLAUSE: Final = (",", ";", ":", "—", "–", "、", "，", "；", "：")
_CLOSING: Final = "\"'”’)]}»」』"
_LEADING: Final = """
a an the and or but of to in on at by for with from as than that this my your his her its our their mr mrs ms
dr i we you he she it they is are was were be been have has had will would can could not
"""
_LEADS_ON: Final = frozenset(_LEADING.split())
"""Words after which no line shall end: what belongs to them follows."""


class CueRules(BaseModel):
    """What a cue may be. Characters of full width count twice."""

    model_config = ConfigDict(frozen=True)

    max_line_chars: int = Field(42, ge=10, le=200, description="Characters in a line of a subtitle")
    max_lines: int = Field(2, ge=1, le=4, description="Lines of a subtitle")
    max_cue_s: float = Field(7.0, ge=1.0, le=30.0, description="Seconds that a subtitle is shown")


DEFAULT: Final = CueRules()


@dataclass(frozen=True, slots=True)
class Token:
    """A word in a cue, with its times in seconds. `joined`: no space before it. `last`: it ends a segment."""

    text: str
    start: float
    end: float
    speaker: str | None = None
    joined: bool = False
    last: bool = False

    @property
    def width(self) -> int:
        """Its characters; those of full width count twice."""
        return width(self.text)


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: shown from `start` to `end` (seconds). `lines`: its words, line by line."""

    start: float
    end: float
    lines: tuple[tuple[Token, ...], ...]
    speaker: str | None = None

    @property
    def texts(self) -> list[str]:
        """Its lines as text."""
        return [text_of(line) for line in self.lines]

    @property
    def width(self) -> int:
        """The characters of all lines."""
        return sum(map(width, self.texts))


def width(text: str) -> int:
    """The number of characters; those of full width count twice."""
    if text.isascii():
        return len(text)
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def text_of(tokens: Sequence[Token]) -> str:
    """The words, with spaces where they belong."""
    return "".join(
        token.text if token.joined or not place else f" {token.text}" for place, token in enumerate(tokens)
    )


def cues_of(
    segments: Iterable[FinalSegment], rules: CueRules = DEFAULT, *, labels: bool = False
) -> list[Cue]:
    """The cues of a transcript, in order. They never overlap.

    `labels`: whether a speaker's name is in the text, at the beginning of each turn.

    A cue has more than `CHARS_PER_S`, or less than `MIN_CUE_S`, only where people speak so fast, or where
    two speakers follow each other so quickly, that no division avoids it.
    """
    words = (token for segment in segments for token in tokens_of(segment))
    tokens = [part for token in (_labelled(words) if labels else words) for part in _cut(token, rules)]
    if not tokens:
        return []
    return _shown([tokens[start:end] for start, end in _divided(tokens, rules)], rules)


# --- words ----------------------------------------------------------------------------------------


def tokens_of(segment: FinalSegment) -> Iterator[Token]:
    """The words of a segment. Without word times, its characters are spoken at an even rate."""
    unspaced = segment.language in UNSPACED and " " not in segment.text.strip()
    words = list(segment.text.strip()) if unspaced else segment.text.split()
    timed = [word for word in segment.words if word.word.strip()]
    if len(timed) == len(words):
        times = [(word.start, word.end) for word in timed]
    else:
        times = list(_even(words, segment.start, segment.end))
    start = segment.start
    for place, (word, (begins, ends)) in enumerate(zip(words, times, strict=True)):
        start = max(start, begins)
        yield Token(
            word, start, max(start, ends), segment.voice, unspaced and place > 0, place == len(words) - 1
        )


def _labelled(tokens: Iterable[Token]) -> Iterator[Token]:
    speaker = None
    for token in tokens:
        if token.speaker and token.speaker != speaker:
            yield replace(token, text=f"{token.speaker}: {token.text}")
        else:
            yield token
        speaker = token.speaker


def _even(words: Sequence[str], start: float, end: float) -> Iterator[tuple[float, float]]:
    total = sum(map(len, words)) + len(words)
    rate = max(0.0, end - start) / max(1, total)
    at = start
    for word in words:
        after = at + rate * (len(word) + 1)
        yield at, after
        at = after


def _cut(token: Token, rules: CueRules) -> Iterator[Token]:
    """A word that is longer than a line, in parts."""
    parts = list(_parts(token.text, rules.max_line_chars))
    rate = (token.end - token.start) / len(parts)
    for place, part in enumerate(parts):
        start = token.start + place * rate
        last = place == len(parts) - 1
        yield Token(part, start, start + rate, token.speaker, token.joined or place > 0, token.last and last)


def _parts(text: str, most: int) -> Iterator[str]:
    while width(text) > most:
        size = len(text)
        while width(text[:size]) > most:
            size -= 1
        yield text[:size]
        text = text[size:]
    yield text


# --- division into cues ---------------------------------------------------------------------------


def _divided(tokens: Sequence[Token], rules: CueRules) -> list[tuple[int, int]]:
    """The best division: the one of least cost (Bellman's principle). Returns the bounds of each cue."""
    words = _measured(tokens)
    least = [0.0] + [float("inf")] * len(words)
    begins = [0] * (len(words) + 1)
    for first in range(len(words)):
        for end, cost in _candidates(words, first, rules):
            if least[first] + cost < least[end]:
                least[end], begins[end] = least[first] + cost, first
    bounds = []
    end = len(words)
    while end:
        bounds.append((begins[end], end))
        end = begins[end]
    return bounds[::-1]


@dataclass(frozen=True, slots=True)
class _Word:
    """What the division needs of a word.

    `space`: before it, in characters. `breaks`, `goes_on`: cost of a cue that ends with it, or that goes on
    after it. `may_follow`: whether it may be in one cue with the word before it. `next_start`: of the next
    word, in seconds.
    """

    start: float
    end: float
    width: int
    space: int
    breaks: float
    goes_on: float
    may_follow: bool
    next_start: float


def _measured(tokens: Sequence[Token]) -> list[_Word]:
    words = []
    before: Token | None = None
    for place, token in enumerate(tokens):
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        pause = following.start - token.end if following else 0.0
        ends = token.text.rstrip(_CLOSING).endswith(_SENTENCE)
        words.append(
            _Word(
                token.start,
                token.end,
                token.width,
                int(not token.joined),
                _cost_of_break(token, following),
                2.0 * ends + 2.0 * (pause > 3 * BREATH_S),
                before is not None
                and token.speaker == before.speaker
                and token.start - before.end <= PAUSE_S,
                following.start if following else float("inf"),
            )
        )
        before = token
    return words


def _candidates(words: Sequence[_Word], first: int, rules: CueRules) -> Iterator[tuple[int, float]]:
    """The cues that begin with a word: the place after their last word, and their cost."""
    start = words[first].start
    lines, line, whole, inside = 1, 0, 0, 0.0
    for place in range(first, len(words)):
        word = words[place]
        space = word.space if place > first else 0
        if place > first:
            if not word.may_follow or word.end - start > rules.max_cue_s:
                return
            inside += words[place - 1].goes_on
        if line and line + space + word.width > rules.max_line_chars:
            lines, line = lines + 1, word.width
            if lines > rules.max_lines:
                return
        else:
            line += word.width + (space if line else 0)
        whole += word.width + space
        time = max(0.05, min(rules.max_cue_s, word.next_start - GAP_S - start))
        too_fast = max(0.0, whole / time / CHARS_PER_S - 1)
        too_short = max(0.0, MIN_CUE_S - time)
        yield place + 1, 3.0 + inside + word.breaks + 30.0 * (too_fast + too_short)


def _cost_of_break(token: Token, following: Token | None) -> float:
    """How bad it is to end a cue with a word."""
    if following is None or following.speaker != token.speaker:
        return 0.0
    text = token.text.rstrip(_CLOSING)
    pause = following.start - token.end
    if text.endswith(_SENTENCE):
        return 0.0
    if text.endswith(_CLAUSE):
        return 1.5
    if token.last or pause >= BREATH_S:
        return 2.0
    return 10.0 if text.casefold() in _LEADS_ON else 6.0


# --- times and lines ------------------------------------------------------------------------------


def _shown(groups: Sequence[Sequence[Token]], rules: CueRules) -> list[Cue]:
    """The cues of the words, with their times and lines."""
    starts = [group[0].start for group in groups]
    cues = []
    for place, group in enumerate(groups):
        start = starts[place]
        needs = max(MIN_CUE_S, sum(token.width + 1 for token in group) / CHARS_PER_S)
        if place + 1 < len(groups):
            following = groups[place + 1]
            starts[place + 1] = _begin(start + needs + GAP_S, following, groups[place + 2 : place + 3])
            latest = starts[place + 1] - GAP_S
        else:
            latest = float("inf")
        end = max(group[-1].end + LINGER_S, start + needs)
        if latest - end < CLOSED_S:
            end = latest
        end = min(end, latest, start + rules.max_cue_s)
        end = max(end, start + SHORTEST_S)
        if place + 1 < len(groups):  # two speakers may have said a word at the same moment
            starts[place + 1] = max(starts[place + 1], end)
        cues.append(Cue(start, end, lines_of(group, rules), group[0].speaker))
    return cues


def _begin(wanted: float, group: Sequence[Token], after: Sequence[Sequence[Token]]) -> float:
    """When a cue begins: with its first word, or later if the cue before needs time and this one has it."""
    start = group[0].start
    if wanted <= start:
        return start
    needs = max(MIN_CUE_S, sum(token.width + 1 for token in group) / CHARS_PER_S)
    spare = (after[0][0].start - GAP_S if after else float("inf")) - needs
    return max(start, min(wanted, start + LATER_S, spare))


def lines_of(tokens: Sequence[Token], rules: CueRules) -> tuple[tuple[Token, ...], ...]:
    """The words in as few lines as they need, cut where the sense allows it, of similar length."""
    whole = tuple(tokens)
    if width(text_of(whole)) <= rules.max_line_chars or len(whole) == 1 or rules.max_lines == 1:
        return (whole,)
    for count in range(2, rules.max_lines + 1):
        if found := _best_lines(whole, count, rules.max_line_chars):
            return found[1]
    return (whole,)


def _best_lines(
    tokens: tuple[Token, ...], count: int, most: int
) -> tuple[float, tuple[tuple[Token, ...], ...]] | None:
    """The best division into `count` lines, with its cost; None if there is none."""
    if count == 1:
        size = width(text_of(tokens))
        return ((size / most) ** 2 * 4, (tokens,)) if size <= most else None
    best: tuple[float, tuple[tuple[Token, ...], ...]] | None = None
    for place in range(1, len(tokens)):
        size = width(text_of(tokens[:place]))
        if size > most:
            break
        rest = _best_lines(tokens[place:], count - 1, most)
        if rest is None:
            continue
        cost = (size / most) ** 2 * 4 + _cost_of_break(tokens[place - 1], tokens[place]) / 4 + rest[0]
        if best is None or cost < best[0]:
            best = (cost, (tokens[:place], *rest[1]))
    return best
