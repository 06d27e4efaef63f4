"""Named entities and noun groups of English text.

The model is spaCy's `en_core_web_sm` 3.8.0 (Explosion, MIT), trained on OntoNotes 5 and WordNet 3.0. Its
parser, lemmatiser and sentence recogniser aren't needed, so the store doesn't have them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from spacy.tokens import Doc

_LEFT_OUT: Final = ("parser", "lemmatizer", "senter")
_FOR_TAGS_ONLY: Final = ("tok2vec", "tagger", "attribute_ruler")  # the entity recogniser has its own vectors


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
    return [Span(each.text, each.label_, each.start_char, each.end_char) for each in doc.ents]


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
