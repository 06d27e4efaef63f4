"""When a detected language is trusted, locked and given up."""

import orjson
import pytest
from pydantic import ValidationError

from parlando.domain.config import SessionConfig
from parlando.domain.job_options import JobOptions
from parlando.domain.languages import codes
from transcriber.engines.base import Hypothesis, Word
from transcriber.pipeline.language import DOUBTFUL, EARLY_SPEECH, MIN_SPEECH, Detected, LanguageTracker
from transcriber.pipeline.open_segment import OpenSegment

DE, FR = Detected("de", 0.9), Detected("fr", 0.8)
UNSURE = Detected("fr", 0.59)


def tracker(*found: Detected, choice: tuple[str, ...] = ()) -> LanguageTracker:
    made = LanguageTracker()
    for each in found:
        made.settle(choice, each, 0.9)
    return made


def heard(text: str, confidence: float = 0.9, **more) -> Hypothesis:
    return Hypothesis(tuple(map(Word, text.split())), confidence=confidence, **more)


def test_two_agreeing_segments_lock_the_language():
    languages = LanguageTracker()
    assert languages.settle((), DE, 0.9) is None
    assert languages.expected((), MIN_SPEECH) is None
    change = languages.settle((), DE, 0.9)
    assert change is not None
    assert (change.found, change.locked) == (DE, True)
    assert languages.expected((), 0) == languages.expected((), MIN_SPEECH) == "de"
    assert languages.settle((), None, 0.9) is None


def test_a_guess_neither_counts_nor_interrupts():
    assert tracker(DE, UNSURE).locked(()) is None
    assert tracker(UNSURE, UNSURE).locked(()) is None
    assert tracker(DE, UNSURE, DE).locked(()) == "de"


def test_another_language_begins_anew():
    assert tracker(DE, FR).locked(()) is None
    assert tracker(DE, FR, DE).locked(()) is None
    assert tracker(DE, FR, FR).locked(()) == "fr"


def test_a_short_segment_is_expected_in_the_language_of_the_one_before():
    languages = tracker(DE)
    assert languages.expected((), MIN_SPEECH - 1) == "de"
    assert languages.expected((), MIN_SPEECH) is None


def test_a_named_language_is_always_expected():
    assert tracker(FR, FR).expected(("de",), MIN_SPEECH) == "de"
    assert LanguageTracker().expected(("de",), 0) == "de"


def test_other_allowed_languages_begin_anew():
    languages = tracker(DE, DE)
    assert languages.locked(("de", "fr")) is None
    languages.settle(("de", "fr"), DE, 0.9)
    assert languages.locked(("de", "fr")) is None
    assert languages.settle(("de", "fr"), DE, 0.9).locked


def test_another_language_found_in_doubt_ends_the_lock():
    languages = tracker(DE, DE)
    change = languages.settle((), FR, 0.9)
    assert (change.found, change.locked) == (FR, False)
    assert languages.locked(()) is None
    assert languages.settle((), FR, 0.9).locked


def test_two_doubtful_finals_in_a_row_end_the_lock():
    languages = tracker(DE, DE)
    below = DOUBTFUL - 0.01
    for confidence in (below, DOUBTFUL, below, None):
        assert languages.settle((), None, confidence) is None
    change = languages.settle((), None, below)
    assert (change.found, change.locked) == (DE, False)
    assert languages.settle((), DE, 0.9) is None
    assert languages.settle((), DE, 0.9).locked


def test_doubts_need_a_lock_words_and_a_low_confidence():
    locked = tracker(DE, DE)
    assert locked.doubts((), heard("was", 0.1), MIN_SPEECH)
    assert not locked.doubts((), heard("was", 0.1), MIN_SPEECH - 1)
    assert not locked.doubts((), heard("was", DOUBTFUL), MIN_SPEECH)
    assert not locked.doubts((), heard("", 0.1), MIN_SPEECH)
    assert not tracker(DE).doubts((), heard("was", 0.1), MIN_SPEECH)


def test_the_state_is_that_of_a_checkpoint():
    for languages in (LanguageTracker(), tracker(DE), tracker(DE, DE, choice=("de", "fr"))):
        state = orjson.loads(orjson.dumps(languages.dump()))
        again = LanguageTracker(state)
        assert orjson.loads(orjson.dumps(again.dump())) == state
        assert again.locked(("de", "fr")) == languages.locked(("de", "fr"))


def test_a_segments_language_is_fixed_by_enough_speech_or_by_stable_text():
    segment = OpenSegment(0, 0, 0)
    segment.take(heard("a b", language="fr", language_probability=0.9), MIN_SPEECH - 1, hold_from=10**6)
    assert segment.spoken is None
    segment.take(heard("x y", language="de", language_probability=0.79), MIN_SPEECH, hold_from=10**6)
    assert segment.spoken is None
    segment.take(heard("f g", language="de", language_probability=0.59), EARLY_SPEECH, hold_from=10**6)
    assert segment.spoken is None
    segment.take(heard("x y z", language="de", language_probability=0.6), EARLY_SPEECH, hold_from=10**6)
    assert segment.spoken == Detected("de", 0.6)
    early = OpenSegment(0, 0, 0)
    early.take(heard("x y z", language="de", language_probability=0.8), MIN_SPEECH, hold_from=10**6)
    assert early.spoken == Detected("de", 0.8)

    unsure = OpenSegment(0, 0, 0)
    for _ in range(2):
        unsure.take(heard("x y z", language="de", language_probability=0.3), 9, hold_from=10**6)
    assert unsure.partial("s", SessionConfig()).stable == "x"
    assert unsure.spoken == Detected("de", 0.3)
    again = OpenSegment.load(orjson.loads(orjson.dumps(unsure.dump())))
    assert again.spoken == unsure.spoken


@pytest.mark.parametrize(
    ("given", "kept", "allowed"),
    [
        (None, None, ()),
        ("", None, ()),
        ("auto", None, ()),
        ("Auto", None, ()),
        ("und", None, ()),
        ("multi", None, ()),
        ("de", "de", ("de",)),
        ("DE\n", "de", ("de",)),
        ("german", "de", ("de",)),
        ("en-GB", "en", ("en",)),
        ("eng_Latn", "en", ("en",)),
        ("ger,fre, chi", "de,fr,zh", ("de", "fr", "zh")),
        ("nb", "no", ("no",)),
        ("iw,jv,fil", "he,jw,tl", ("he", "jw", "tl")),
        ("tlh", "tlh", ("tlh",)),
        ("de, en ,fr,", "de,en,fr", ("de", "en", "fr")),
        ("de,de,en-GB,en-US", "de,en", ("de", "en")),
    ],
)
def test_choices_of_languages(given, kept, allowed):
    for options in (SessionConfig(language=given), JobOptions(language=given)):
        assert options.language == kept
        assert options.languages == codes(kept) == allowed
        assert options.only_language == (allowed[0] if len(allowed) == 1 else None)


def test_a_default_language_is_for_those_who_state_none():
    assert SessionConfig().with_default_language("de").language == "de"
    assert SessionConfig().with_default_language(None).language is None
    assert SessionConfig(language="auto").with_default_language("de").language is None
    assert JobOptions(language="fr").with_default_language("de").language == "fr"


@pytest.mark.parametrize("given", ["germanic", "auto,de", "de;en", "xx", "de,auto", "*", "de-", "de " * 99])
def test_what_is_no_choice_of_languages_is_refused(given):
    with pytest.raises(ValidationError, match="language"):
        SessionConfig(language=given)


@pytest.mark.parametrize(
    ("given", "code"), [("ger", "de"), ("German", "de"), ("de-AT", "de"), ("nb", "no"), ("iw", "he")]
)
def test_a_translation_goes_into_one_language_however_it_is_spelt(given, code):
    assert JobOptions(target_language=given).target_language == code


@pytest.mark.parametrize("given", ["auto", "de,fr", "", "xx", "German!"])
def test_a_translation_goes_into_no_other(given):
    with pytest.raises(ValidationError, match="expected a language"):
        JobOptions(target_language=given)


def test_a_session_needs_an_engine_for_what_it_wants():
    assert SessionConfig().required_task == "transcribe"
    assert SessionConfig(task="translate").required_task == "translate"
    assert SessionConfig(translations="en").required_task == "translate"
    assert JobOptions(translations="en").required_task == "translate"
    assert JobOptions(task="detect_language", translations="en").required_task == "detect_language"
