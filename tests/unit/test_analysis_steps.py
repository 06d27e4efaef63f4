"""The analysis without its models: sentences, rules, and the arithmetic on vectors."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.document import Document, Passage
from analyzer.models.entity_model import Span, mended
from analyzer.sentences import Piece, batches, pieces, sentence_bounds, sentences
from analyzer.steps.actions import actions, is_action
from analyzer.steps.base import Step
from analyzer.steps.entities import placed
from analyzer.steps.key_sentences import choice, is_candidate, number
from analyzer.steps.keywords import Phrases, meaningful
from analyzer.steps.language import excerpt, identified
from analyzer.steps.questions import is_question, questions
from analyzer.steps.sentiment import CLASSES, EXAMPLES, classes, overall
from analyzer.steps.table import STEPS
from analyzer.steps.topics import OTHER, TOPICS, best, labelled, means, weights
from support.analysis import document


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_bounds(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there.", "How are you?"]),
        ("I met Mr. Smith and Dr. Jones. They left.", ["I met Mr. Smith and Dr. Jones.", "They left."]),
        ("It costs 3.50 euros. No more!", ["It costs 3.50 euros.", "No more!"]),
        ("We meet at 3 p.m. on Friday.", ["We meet at 3 p.m. on Friday."]),
        ("We meet at 3 p.m. Bring a pen.", ["We meet at 3 p.m.", "Bring a pen."]),
        ("J. R. Smith wrote it. I read it.", ["J. R. Smith wrote it.", "I read it."]),
        ("It was me, not I. They knew.", ["It was me, not I.", "They knew."]),
        ('He said "Stop!" Then he left.', ['He said "Stop!"', "Then he left."]),
        ("Well... maybe so. Yes.", ["Well... maybe so.", "Yes."]),
        ("Was it? yes it was.", ["Was it?", "yes it was."]),
        ("no punctuation at all", ["no punctuation at all"]),
        ("会议几点开始？明天九点。", ["会议几点开始？", "明天九点。"]),
        ("  ", []),
    ],
)
def test_text_is_cut_into_sentences(text, expected):
    assert cut(text) == expected


@given(st.text(alphabet="aB. ?!\n…\"'", max_size=200))
def test_sentences_lose_nothing_but_spaces(text):
    assert "".join("".join(cut(text)).split()) == "".join(text.split())


@given(st.text(alphabet="aB. ", min_size=1, max_size=400), st.integers(5, 60))
def test_pieces_are_short_enough_and_lose_nothing(text, longest):
    parts = list(pieces([Passage(1, text, 0.0, 1.0)], longest))

    assert "".join(part.text for part in parts).strip() == text.strip()
    assert all(len(part.text) <= longest or not part.text.strip() for part in parts)
    assert all(text[part.offset :].startswith(part.text) for part in parts)


def test_batches_hold_as_much_as_they_may():
    parts = [Piece(Passage(0, "x" * 400, 0, 1), "x" * size) for size in (3, 3, 3, 20, 1)]

    assert [[len(part.text) for part in batch] for batch in batches(parts, 7)] == [[3, 3], [3], [20], [1]]


def test_a_sentence_starts_in_proportion_to_its_place_in_the_segment():
    [first, second] = sentences([Passage(4, "Yes it is. No it is n.", 10.0, 20.0)])

    assert (first.start, second.start, second.offset) == (10.0, 15.0, 11)


@pytest.mark.parametrize(
    ("sentence", "punctuated", "expected"),
    [
        ("Can you hear me?", True, True),
        ("You are coming, aren't you?", True, True),
        ("Can you hear me.", True, False),
        ("can you hear me", False, True),
        ("so what is the price", False, True),
        ("what a day", False, False),
        ("the price is fine", False, False),
        ("?", True, False),
    ],
)
def test_questions(sentence, punctuated, expected):
    assert is_question(sentence, punctuated=punctuated) is expected


def test_questions_have_their_place():
    found = questions(sentences(document("Good. Where are you now?", "Here.", "when do we meet").passages))

    assert found == [
        {"text": "Where are you now?", "segment": 0, "start": 1.25},
        {"text": "when do we meet", "segment": 2, "start": 10.0},
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "I'll send you the draft by Friday.",
        "I’ll send you the draft.",
        "Anna will call the printer.",
        "We need to book a room.",
        "Somebody has to order new chairs.",
        "Could you forward me the mail?",
        "Please update the page.",
        "Let's schedule a call for Monday.",
        "Send me the figures before noon.",
        "If it breaks again, call me.",
        "Tom finishes the tests by Tuesday.",
    ],
)
def test_action_items(sentence):
    assert is_action(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "I sent you the draft on Friday.",
        "Could you repeat that?",
        "Should I call him?",
        "You don't have to send anything.",
        "We won't move the date.",
        "Let's get started.",
        "Please hold the line.",
        "I think it will rain tomorrow.",
        "It was a long call.",
    ],
)
def test_no_action_items(sentence):
    assert not is_action(sentence)


def test_rules_are_fast_on_hostile_text():
    assert not is_action("if a " * 20_000)
    assert list(sentences([Passage(0, ". " * 10_000, 0.0, 1.0)]))


def test_an_action_names_its_speaker_if_there_is_one():
    passages = [
        Passage(7, "I'll call her.", 2.0, 3.0, "B"),
        Passage(8, "I'll call her.", 4.0, 5.0),
    ]

    assert actions(sentences(passages)) == [
        {"text": "I'll call her.", "segment": 7, "start": 2.0, "speaker": "B"},
        {"text": "I'll call her.", "segment": 8, "start": 4.0},
    ]


@pytest.mark.parametrize(
    ("text", "part", "label", "expected"),
    [
        ("in the Netherlands now", "the Netherlands", "GPE", ("Netherlands", "GPE")),
        ("Anna's car", "Anna's", "PERSON", ("Anna", "PERSON")),
        ("it costs $1,200", "1,200", "MONEY", ("$1,200", "MONEY")),
        ("it costs £12", "12", "CARDINAL", ("£12", "MONEY")),
        ("number 4471902", "4471902", "DATE", ("4471902", "CARDINAL")),
        ("in 2024", "2024", "DATE", ("2024", "DATE")),
        ("on the 20th", "the 20th", "DATE", ("the 20th", "DATE")),
    ],
)
def test_entities_are_mended(text, part, label, expected):
    start = text.index(part)
    span = mended(text, start, start + len(part), label)

    assert (span.text, span.label) == expected
    assert text[span.start : span.end] == span.text


def test_entities_of_a_later_piece_have_offsets_in_the_segment():
    piece = Piece(Passage(3, "one two Berlin", 0.0, 1.0), "Berlin", 8)

    assert placed(piece, [Span("Berlin", "GPE", 0, 6)]) == [
        {"text": "Berlin", "label": "GPE", "segment": 3, "start": 8, "end": 14}
    ]


def test_topics_are_the_closest_ones_or_other():
    topics = np.eye(len(TOPICS), dtype=np.float32)
    rows = Document(
        (Passage(5, "One two three four.", 0, 1), Passage(6, "Yes.", 1, 2), Passage(7, "A b c.", 2, 3))
    )
    parts = [Piece(passage, passage.text) for passage in rows.passages]
    vectors = np.stack([topics[2], topics[3], topics[4] * 0.1])

    assert [each["label"] for each in labelled(parts, vectors @ topics.T)] == [TOPICS[2], OTHER, OTHER]
    assert weights(parts).tolist() == [4, 0, 3]
    assert best(vectors.T @ np.array([3, 2.5, 0], np.float32), topics) == [
        {"label": TOPICS[2], "score": 0.768},
        {"label": TOPICS[3], "score": 0.64},
    ]
    assert best(np.zeros(len(TOPICS), np.float32), topics) == [{"label": OTHER, "score": 0.0}]
    assert np.allclose(np.linalg.norm(means(topics, topics[::-1]), axis=1), 1)


def test_sentiment_is_the_class_with_the_most_similar_examples():
    cosines = np.zeros((4, len(EXAMPLES)), np.float32)
    cosines[0, 0::3], cosines[1, 1::3], cosines[2, 2::3], cosines[3, 2::3] = 0.3, 0.3, 0.3, 0.3
    texts = document("a b c", "a b c", "a b c", "no").passages

    assert len(EXAMPLES) % len(CLASSES) == 0
    assert classes([Piece(each, each.text) for each in texts], cosines) == [
        "positive",
        "neutral",
        "negative",
        "neutral",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, "neutral"),
        ({"neutral": 10}, "neutral"),
        ({"neutral": 10, "negative": 2}, "neutral"),
        ({"neutral": 10, "negative": 5, "positive": 1}, "negative"),
        ({"negative": 5, "positive": 4}, "neutral"),
        ({"positive": 4}, "positive"),
    ],
)
def test_the_overall_sentiment(words, expected):
    assert overall(Counter(words))["sentiment"] == expected


def test_key_sentences_are_in_order_and_differ():
    vectors = np.array([[1, 0], [1, 0.01], [0.3, 0.95]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = choice(vectors, 2)

    assert chosen == sorted(chosen)
    assert 2 in chosen
    assert choice(vectors, 3) == [0, 1, 2]
    assert choice(vectors[:0], 0) == []
    assert [number(count) for count in (0, 2, 10, 80, 5000)] == [0, 2, 3, 10, 12]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("We moved the whole plant to the new site last year.", True),
        ("Thank you very much for calling us here today, sir.", False),
        ("Could you tell me which of the offers you like best?", False),
        ("Good morning to all of you here in the room.", False),
        ("That is good.", False),
    ],
)
def test_what_may_be_a_key_sentence(sentence, expected):
    assert is_candidate(sentence) is expected


def test_keywords_are_names_then_noun_groups():
    phrases = Phrases()
    phrases.add([Span("Berlin", "GPE", 0, 0), Span("2024", "DATE", 0, 0), Span("new office", "NOUNS", 0, 0)])
    phrases.add([Span("Berlin", "GPE", 0, 0), Span("Anna", "PERSON", 0, 0), Span("lot", "NOUNS", 0, 0)])
    phrases.add([Span("Office", "NOUNS", 0, 0), Span("server room", "NOUNS", 0, 0)])

    assert [(each["text"], each["count"]) for each in phrases.keywords()] == [
        ("Berlin", 2),
        ("Anna", 1),
        ("office", 2),
        ("server room", 1),
    ]
    assert all(0 < each["score"] <= 1 for each in phrases.keywords())
    assert Phrases().keywords() == []


def test_keywords_of_a_very_long_text_are_bounded(monkeypatch):
    monkeypatch.setattr("analyzer.steps.keywords.MAX_KEPT", 10)
    phrases = Phrases()
    for place in range(200):
        phrases.add([Span("Berlin", "GPE", 0, 0), Span(f"thing{place} plan", "NOUNS", 0, 0)])

    assert phrases.keywords()[0] == {"text": "Berlin", "score": 1.0, "count": 200}
    assert len(phrases._groups) <= 10
    assert len(phrases._written) <= 12


@pytest.mark.parametrize(
    ("group", "expected"),
    [("other big servers", "servers"), ("many things", ""), ("24/7 service", ""), ("new", ""), ("x", "")],
)
def test_what_says_something(group, expected):
    assert meaningful(group) == expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The meeting starts at nine tomorrow morning.", "en"),
        ("Die Besprechung beginnt morgen um neun.", "de"),
        ("明日の会議は何時に始まりますか。", "ja"),
        ("ja genau", None),
        ("", None),
    ],
)
def test_languages(text, language):
    assert identified(text)["language"] == language


def test_the_language_of_a_very_long_text_is_that_of_an_excerpt():
    text = excerpt(document(*["All of us will be here tomorrow."] * 20_000))

    assert 2500 < len(text) <= 5000


def test_every_step_has_a_name_of_its_own():
    names = [step.name for step in STEPS]

    assert len(set(names)) == len(names)
    assert all(issubclass(step, Step) and step.name.replace("_", "").isalpha() for step in STEPS)
    assert {step.name for step in STEPS if step.live} == {"entities", "topics", "questions", "actions"}
    assert {step.name for step in STEPS if not step.languages} == {
        "language",
        "translation",
        "summary",
        "insights",
    }
