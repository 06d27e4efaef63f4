"""The checks of `parlando conform` find what they look for."""

from collections.abc import Callable

import pytest

from parlando.cli.conform.checks import checked
from parlando.cli.conform.received import Received, Utterance

SAID = "Ask not what your country can do for you; ask what you can do for your country."


def session(*texts: str) -> Received:
    """A session without a fault: each text is an utterance of two seconds."""
    received = Received()
    for number, text in enumerate(texts):
        utterance = received.utterance(number)
        words = text.split()
        utterance.stable = [" ".join(words[:at]) for at in range(1, len(words), 2)]
        utterance.finals = [text]
        utterance.start, utterance.end = 2.0 * number, 2.0 * number + 1.9
        utterance.words = [
            (2.0 * number + 0.1 * at, 2.0 * number + 0.1 * at + 0.1) for at in range(len(words))
        ]
    received.close(1000)
    return received


def faulty(change: Callable[[Received], None]) -> Received:
    received = session("ask not what your country can do for you", "ask what you can do for your country")
    change(received)
    return received


def failed(received: Received) -> list[str]:
    return [result.check for result in checked(received, SAID, 4.0) if result.passed is False]


def test_a_session_without_a_fault_passes():
    results = checked(faulty(lambda received: None), SAID, 4.0)
    assert [result.passed for result in results] == [True] * 7


def doubled(received: Received) -> None:
    received.utterance("0").finals = ["ask not what your country ask not what your country can do for you"]
    received.utterance("0").stable = []


def final_again(received: Received) -> None:
    received.utterance("0").finals.append("ask not what your country can do for us")


def changed(received: Received) -> None:
    received.utterance("0").stable = ["ask", "and not"]


def back_in_time(received: Received) -> None:
    received.utterance("1").start = -1.0


def words_back_in_time(received: Received) -> None:
    received.utterance("1").words[3] = (0.5, 0.6)


def behind_the_end(received: Received) -> None:
    received.utterance("1").end = 5.5


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (doubled, ["words once, in order"]),
        (lambda received: received.utterances.pop("0"), ["words once, in order"]),
        (lambda received: received.utterances.pop("1"), ["words once, in order", "tail delivered"]),
        (final_again, ["finals never change"]),
        (changed, ["stable text only grows"]),
        (back_in_time, ["times don't go back"]),
        (words_back_in_time, ["times don't go back"]),
        (behind_the_end, ["times don't go back"]),
        (lambda received: received.errors.append("a mistake"), ["no errors"]),
        (lambda received: received.close(1011), ["clean close"]),
    ],
)
def test_every_fault_is_found(change, checks):
    assert failed(faulty(change)) == checks


def test_a_session_without_a_word_fails():
    assert {"words once, in order", "tail delivered", "finals never change"} <= set(failed(Received()))


def test_what_a_dialect_does_not_have_is_not_applicable():
    received = Received(promises=False)
    received.utterances["whole"] = Utterance(finals=[SAID])
    received.close(1000)
    results = {result.check: result.passed for result in checked(received, SAID, 4.0)}
    assert results["stable text only grows"] is None
    assert results["times don't go back"] is None
    assert all(passed is not False for passed in results.values())
