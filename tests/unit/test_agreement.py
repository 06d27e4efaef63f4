"""LocalAgreement-2."""

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engines.base import Word
from transcriber.pipeline.agreement import LONG_AGREED, UNCOMMITTED_WORDS, LocalAgreement, tail_behind

STEP = LONG_AGREED // 4


def _words(line: str, probability: float | None = None) -> tuple[Word, ...]:
    return tuple(Word(text, probability=probability) for text in line.split())


def _line(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def test_what_two_hypotheses_share_is_committed_but_not_the_newest_words():
    agreement = LocalAgreement()
    agreement.insert(_words("And so my fellow"), STEP)
    agreement.insert(_words("and so, my fellow Americans ask"), 2 * STEP)

    assert _line(agreement.committed) == "and so, my fellow"[: len("and so, my fellow")]
    assert _line(agreement.tail) == "Americans ask"


def test_one_hypothesis_commits_nothing():
    agreement = LocalAgreement()
    agreement.insert(_words("It was the age of wisdom"), STEP)

    assert agreement.committed == ()


def test_an_unsure_word_stops_the_commit():
    agreement = LocalAgreement()
    for count in range(1, 4):
        agreement.insert(_words("a b", 0.99) + _words("c d e f", 0.7), count * STEP)

    assert _line(agreement.committed) == "a b"


def test_an_unsure_word_is_committed_after_hypotheses_of_a_longer_time_agreed():
    agreement = LocalAgreement()
    agreement.insert(_words("a x c d e f", 0.7), STEP)
    for end in range(2 * STEP, 2 * STEP + LONG_AGREED, STEP):
        agreement.insert(_words("a b c d e f", 0.7), end)
    assert _line(agreement.committed) == "a"
    agreement.insert(_words("a b", 0.7) + _words("c d e f", 0.4), 2 * STEP + LONG_AGREED)

    assert _line(agreement.committed) == "a b", "c isn't probable in the newest hypothesis"


def test_an_engine_that_begins_with_the_committed_words_must_be_sure_of_them():
    agreement = LocalAgreement()
    for end in range(STEP, 2 * LONG_AGREED, STEP):
        agreement.insert(_words("a b c d e f", 0.7), end, primes=True)

    assert agreement.committed == ()


def test_nothing_is_committed_where_a_cut_may_yet_fall():
    agreement = LocalAgreement()
    agreement.insert(_words("a b c d"), STEP)
    agreement.insert(_words("a b c d"), 2 * STEP, hold=True)

    assert agreement.committed == ()


def test_a_hypothesis_that_contradicts_committed_words_loses_none_of_its_new_ones():
    committed = _words("a b c")

    assert _line(tail_behind(committed, _words("a c d e"))) == "d e"
    assert _line(tail_behind(committed, _words("a x b c d e"))) == "d e"
    assert _line(tail_behind(committed, _words("z z z d e"))) == "d e"


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=12), max_size=10))
def test_stable_words_only_grow_and_begin_the_final(hypotheses):
    agreement, before = LocalAgreement(), ()
    for count, hypothesis in enumerate(hypotheses, 1):
        agreement.insert(_words(" ".join(hypothesis)), count * STEP)
        assert agreement.committed[: len(before)] == before
        before = agreement.committed

    final = agreement.settle(_words("a b c"))
    assert final[: len(before)] == before


@given(st.integers(1, 40))
def test_a_growing_perfect_hypothesis_is_committed_up_to_its_newest_words(count):
    agreement = LocalAgreement()
    for end in range(1, count + 1):
        agreement.insert(_words(" ".join(f"w{n}" for n in range(end))), end * STEP)

    assert len(agreement.committed) == max(0, min(count - 1, count - UNCOMMITTED_WORDS))
    assert _line(agreement.settle(_words(" ".join(f"w{n}" for n in range(count))))).split() == [
        f"w{n}" for n in range(count)
    ]
