"""The analysis with its models: known values, offsets, least quality on the texts of fixtures/analysis."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from analyzer.models.entity_model import EntityModel
from analyzer.models.sentence_model import SentenceModel
from analyzer.resources import Resources
from analyzer.steps.actions import Actions
from analyzer.steps.entities import MAX_ENTITIES, Entities
from analyzer.steps.key_sentences import KeySentences
from analyzer.steps.keywords import Keywords
from analyzer.steps.language import Language
from analyzer.steps.questions import Questions
from analyzer.steps.sentiment import Sentiment
from analyzer.steps.table import STEPS
from analyzer.steps.topics import Topics
from parlando.errors import ModelError
from parlando.models.catalogue import ENTITIES_EN, SENTENCES
from parlando.models.store import ModelStore
from support.analysis import (
    TRANSCRIPTS,
    Score,
    document,
    labelled,
    places,
    result,
    texts,
    transcript,
)


@pytest.fixture(scope="session")
def store():
    store = ModelStore()
    for model in (ENTITIES_EN, SENTENCES):
        store.pull(model)
    return store


@pytest.fixture(scope="session")
def entity_model(store):
    return EntityModel(store.path(ENTITIES_EN))


@pytest.fixture(scope="session")
def sentence_model(store):
    return SentenceModel(store.path(SENTENCES))


@pytest.fixture
def resources(store, entity_model, sentence_model):
    resources = Resources(store)
    resources._entity_model, resources._sentence_model = entity_model, sentence_model
    yield resources
    resources.close()


@pytest.mark.parametrize(
    ("one", "other", "cosine"),  # published in the documentation of sentence-transformers for this model
    [
        ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
        ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
        ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
        ("A man is eating food.", "A man is eating a piece of bread.", 0.7553),
    ],
)
def test_vectors_have_the_published_cosines(sentence_model, one, other, cosine):
    vectors = sentence_model([one, other])

    assert float(vectors[0] @ vectors[1]) == pytest.approx(cosine, abs=2e-4)


def test_a_vector_does_not_depend_on_the_other_texts(sentence_model):
    several = ["Yes.", "The invoice is due on Friday, and nobody has paid it.", "word " * 500]
    together = sentence_model(several)

    assert together.shape == (3, 384)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(several, together, strict=True):
        assert np.allclose(sentence_model([text])[0], vector, atol=1e-5)
    assert sentence_model([]).shape == (0, 384)
    assert np.isfinite(sentence_model([""])).all()


def test_entities_and_noun_groups_have_their_offsets(entity_model):
    text = "Ärger in Köln: Anna Weber paid $1,200 to the bank’s new branch office in 2024. 🎉 Hello Berlin."
    [entities] = entity_model([text])
    [phrases] = entity_model.phrases([text])

    assert {"Anna Weber", "$1,200", "2024", "Berlin"} <= {span.text for span in entities}
    assert all(text[span.start : span.end] == span.text for span in (*entities, *phrases))
    assert {span.text for span in phrases if span.label == "NOUNS"} >= {"new branch office"}
    assert all(one.end <= other.start for one, other in pairwise(phrases))
    assert entity_model([]) == []
    assert entity_model([""]) == [[]]


async def test_entities_of_a_segment_that_is_cut_have_offsets_in_it(resources):
    text = document(" ".join(f"Meeting {each}: Anna Weber went to Berlin." for each in range(400)))
    made = await result(Entities, text, resources)

    assert len(made["entities"]) > 700
    assert all(
        text.passages[0].text[each["start"] : each["end"]] == each["text"] for each in made["entities"]
    )
    assert {each["text"]: each["count"] for each in made["counts"]}["Berlin"] >= 390


async def test_very_many_entities_are_bounded(resources):
    made = await result(
        Entities, document(*["Anna and Tom live in Berlin, Paris, London and Rome."] * 1000), resources
    )

    assert len(made["entities"]) == MAX_ENTITIES
    assert made["counts"][0]["count"] >= 900


@pytest.mark.parametrize("step", [step for step in STEPS if step.languages or step.name == "language"])
async def test_texts_without_anything_to_find(step, resources):
    for text in (
        document(),
        document("Mm."),
        document("..."),
        document("x" * 9000),
        document("12 34 " * 2000),
    ):
        assert isinstance(await result(step, text, resources), dict)


@pytest.mark.parametrize(
    ("name", "precision", "recall"),
    [("meeting", 0.7, 0.7), ("call", 0.55, 0.6), ("medical", 0.65, 0.7), ("sales", 0.65, 0.65)],
)
async def test_entities_are_found(name, precision, recall, resources):
    gold = transcript(name)
    score = Score.of(places(await result(Entities, gold.document, resources)), gold.entities)

    assert score.precision >= precision, score
    assert score.recall >= recall, score


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_questions_and_actions_are_found(name, resources):
    gold = transcript(name)
    asked = Score.of(texts((await result(Questions, gold.document, resources))["questions"]), gold.questions)
    to_do = (await result(Actions, gold.document, resources))["actions"]
    score = Score.of(texts(to_do), gold.actions)

    assert min(asked.precision, asked.recall) >= 0.95, asked
    assert min(score.precision, score.recall) >= 0.8, score
    assert all(each["speaker"] for each in to_do)


@pytest.mark.parametrize(("name", "least"), [("topics", 25), ("topics_held_out", 22)])
async def test_topics_are_found(name, least, resources):
    rows = labelled(name)
    made = await result(Topics, document(*(each["text"] for each in rows)), resources)

    assert (
        sum(one["label"] == each["topic"] for one, each in zip(made["segments"], rows, strict=True)) >= least
    )
    assert 1 <= len(made["topics"]) <= 3


async def test_topics_of_whole_conversations(resources):
    async def best(name):
        return (await result(Topics, transcript(name).document, resources))["topics"][0]["label"]

    assert await best("call") == "billing and payments"
    assert await best("medical") == "health and medicine"


async def test_sentiment_is_recognised(resources):
    rows = labelled("sentiment")
    made = await result(Sentiment, document(*(each["text"] for each in rows)), resources)
    pairs = zip(made["segments"], rows, strict=True)

    assert sum(one["sentiment"] == each["sentiment"] for one, each in pairs) >= 18
    assert sum(made["share"].values()) == pytest.approx(1, abs=0.01)


async def test_languages_are_recognised(resources):
    rows = labelled("languages")
    made = [(await result(Language, document(each["text"]), resources))["language"] for each in rows]

    assert sum(one == each["language"] for one, each in zip(made, rows, strict=True)) >= 18


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_excerpts_and_keywords_are_in_the_text(name, resources):
    text = transcript(name).document
    sentences = (await result(KeySentences, text, resources))["key_sentences"]
    keywords = (await result(Keywords, text, resources))["keywords"]

    assert 3 <= len(sentences) <= 12
    assert sentences == sorted(sentences, key=lambda each: each["start"])
    assert all(
        each["text"] in next(one.text for one in text.passages if one.segment == each["segment"])
        for each in sentences
    )
    assert 10 <= len(keywords) <= 20
    assert all(each["text"].casefold() in text.text.casefold() for each in keywords)


async def test_partial_results_are_told_while_a_text_is_processed(resources):
    told = []

    async def progress(partial):
        told.append(partial)
        await asyncio.sleep(0)

    text = document(*["The invoice is due on Friday, and nobody in Berlin has paid it yet."] * 100)
    for step in (Entities, Topics, Sentiment, KeySentences, Keywords):
        told.clear()
        await step(resources).run(text, None, progress)
        assert len(told) > 1, step


async def test_without_a_model_the_error_names_the_command(tmp_path):
    resources = Resources(ModelStore(tmp_path))
    with pytest.raises(ModelError, match="parlando models pull entities-en"):
        await result(Entities, document("Anna lives in Berlin."), resources)
    resources.close()
