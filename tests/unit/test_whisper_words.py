"""Words of Whisper's tokens."""

from transcriber.engines.base import Word
from transcriber.engines.whisper_words import with_probabilities, with_times, word_delay_s, words_of_tokens


def _split(tokens):
    texts = {1: " Good", 2: " mor", 3: "ning", 4: ",", 5: " all", 6: ".", 7: "早", 8: "上"}
    return [texts[token] for token in tokens], [[token] for token in tokens]


def test_pieces_and_punctuation_belong_to_the_word_before_them():
    words = words_of_tokens(_split, [1, 2, 3, 4, 5, 6], "en")

    assert [word.text for word in words] == ["Good", "morning,", "all."]
    assert [word.tokens for word in words] == [(1,), (2, 3, 4), (5, 6)]


def test_languages_without_spaces_have_words_of_one_character():
    assert [word.text for word in words_of_tokens(_split, [7, 8], "zh")] == ["早", "上"]


def test_a_word_has_the_mean_probability_of_its_tokens():
    words = with_probabilities([Word("a", tokens=(1,)), Word("b", tokens=(2, 3))], [0.9, 0.5, 0.7])

    assert [word.probability for word in words] == [0.9, 0.6]


def test_a_word_lasts_until_the_next_one_begins():
    words = [Word("a", tokens=(1,)), Word("b", tokens=(2, 3)), Word("c", tokens=(4,))]
    alignment = [(0, 5), (0, 6), (1, 20), (2, 30), (3, 30)]

    spans = [(word.start, word.end) for word in with_times(words, alignment, 1.0)]
    assert spans == [(0.1, 0.4), (0.4, 0.6), (0.6, 1.0)]


def test_the_delay_of_a_models_times_is_subtracted():
    words = [Word("a", tokens=(1,)), Word("b", tokens=(2,))]
    spans = [
        (word.start, word.end) for word in with_times(words, [(0, 5), (1, 20), (2, 30)], 1.0, delay_s=0.15)
    ]

    assert spans == [(0.0, 0.25), (0.25, 0.45)]
    assert word_delay_s("whisper-tiny.en") == word_delay_s("tiny.en") > 0
    assert word_delay_s("whisper-large-v3") == 0
