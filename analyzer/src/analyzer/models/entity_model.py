"""Named entities and noun groups of English text.

The model is spaCy's `en_core_web_sm` 3.8.0 (Explosion, MIT), trained on OntoNotes 5 and WordNet 3.0. Its
parser, lemmatiser and sentence recogniser aren't needed, so the store doesn't have them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from spacy.tokens import Doc

_LEFT_OUT: Final = ("parser", "lemmatizer", "senter")
_FOR_TAGS_ONLY: Final = ("tok2vec", "tagger", "attribute_ruler")  # the entity recogniser has its own vectors


NAMES: Final = frozenset(
    {"PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "PRODUCT", "EVENT", "WORK_OF_ART", "LAW"}
)
"""Labels of entities that are names; not those of dates and numbers."""
_ARTICLE: Final = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_GENITIVES: Final = ("'s", "’s")
_CURRENCY: Final = frozenset("$£€¥₹")
_NUMBERS: Final = frozenset({"MONEY", "CARDINAL", "QUANTITY", "DATE"})
_DIGITS_OF_A_YEAR: Final = 4


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text. `start`, `end`: offsets in characters, so that `text` is the text's `[start:end]`.

    `label`: of an entity, one of OntoNotes: PERSON, ORG (firms, authorities), GPE (countries, towns), LOC,
    FAC (buildings, roads), NORP (nations, religions, parties), PRODUCT, EVENT, WORK_OF_ART, LAW, LANGUAGE,
    DATE, TIME, PERCENT, MONEY, QUANTITY, ORDINAL, CARDINAL; of a noun group NOUNS.
    """

    text: str
    label: str
    start: int
    end: int


class EntityModel:
    """The model, loaded from its folder. For one thread."""

    def __init__(self, folder: Path) -> None:
        import spacy  # takes a second, and only this model needs it

        self._nlp = spacy.load(folder, exclude=list(_LEFT_OUT))

    def __call__(self, texts: Sequence[str]) -> list[list[Span]]:
        """The entities of each text, in the order of the text; they don't overlap."""
        with self._nlp.memory_zone():  # else the vocabulary would keep every new word
            return [_entities(doc) for doc in self._nlp.pipe(texts, disable=list(_FOR_TAGS_ONLY))]

    def phrases(self, texts: Sequence[str]) -> list[list[Span]]:
        """The entities and the noun groups of each text, in the order of the text; they don't overlap.

        A noun group is a sequence of adjectives and nouns that ends with a noun.
        """
        with self._nlp.memory_zone():
            return [
                sorted([*_entities(doc), *_noun_groups(doc)], key=lambda span: span.start)
                for doc in self._nlp.pipe(texts)
            ]


def _entities(doc: "Doc") -> list[Span]:
    return [mended(doc.text, each.start_char, each.end_char, each.label_) for each in doc.ents]


def mended(text: str, start: int, end: int, label: str) -> Span:
    """The entity at `text[start:end]`, corrected where the model errs regularly.

    A name is without its article and the end of a genitive; an amount has its sign of a currency; a number
    of more than four digits is no date.
    """
    if label in NAMES:
        article = _ARTICLE.match(text, start, end)
        start = article.end() if article else start
        end -= 2 if text[start:end].endswith(_GENITIVES) else 0
    elif label in _NUMBERS and start and text[start - 1] in _CURRENCY:
        start, label = start - 1, "MONEY"
    elif label == "DATE" and text[start:end].isdecimal() and end - start > _DIGITS_OF_A_YEAR:
        label = "CARDINAL"
    return Span(text[start:end], label, start, end)


def _noun_groups(doc: "Doc") -> Iterator[Span]:
    group: list[Any] = []
    for token in doc:
        kind = "" if token.ent_type_ else token.pos_
        if kind in ("NOUN", "PROPN") or (kind == "ADJ" and not _has_noun(group)):
            group.append(token)
            continue
        yield from _closed(group)
        group = [token] if kind == "ADJ" else []
    yield from _closed(group)


def _has_noun(group: Sequence[Any]) -> bool:
    return bool(group) and group[-1].pos_ != "ADJ"


def _closed(group: Sequence[Any]) -> Iterator[Span]:
    if _has_noun(group):
        start, end = group[0].idx, group[-1].idx + len(group[-1].text)
        yield Span(group[0].doc.text[start:end], "NOUNS", start, end)
