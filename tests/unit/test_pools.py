"""Which pools may get a session or a job: `parlando.domain.pools`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlando.domain.pools import MAX_NAME, NoPoolError, choose, pool_name, pools_of
from parlando.errors import AtCapacityError
from support.pools import report

WORLD = ["de", "en", "es", "fr"]
MOONSHINE = report("moonshine", "tiny", languages=["en"], capacity=24)
TINY_EN = report("faster-whisper", "tiny.en", languages=["en"], capacity=10)
BASE = report("faster-whisper", "base", languages=WORLD, tasks=["transcribe", "translate"], capacity=4)
PAID = report("openai", "large", languages=[], tasks=["transcribe", "translate"], metered=True, capacity=256)
GATEWAY = {"kind": "gateway", "worker": "gateway-1"}
ALL = [PAID, BASE, GATEWAY, TINY_EN, MOONSHINE]


def chosen(workers, *languages, task="transcribe", stages=()):
    return [pool.name for pool in choose(workers, languages, task, stages)]


@pytest.mark.parametrize(
    ("engine", "model", "name"),
    [
        ("moonshine", "tiny", "moonshine-tiny"),
        ("faster-whisper", "base", "whisper-base"),
        ("faster-whisper", "whisper-tiny.en", "whisper-tiny.en"),
        ("whisper", "base", "torch-whisper-base"),
        ("openai", "openai/whisper-large-v3", "openai-openai-whisper-large-v3"),
        ("Mine", "Größe: 1 GB{0}", "mine-gr-e-1-gb-0"),
        ("", "", "engine"),
    ],
)
def test_a_pools_name_comes_from_engine_and_model(engine, model, name):
    assert pool_name(engine, model) == name


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_engine_has_a_name_that_can_be_part_of_a_key(engine, model):
    name = pool_name(engine, model)

    assert re.fullmatch(r"[a-z0-9._-]+", name)
    assert len(name) <= MAX_NAME
    assert pool_name(engine, model) == name


@pytest.mark.parametrize(
    ("wanted", "pools"),
    [
        (("en",), ["moonshine-tiny", "whisper-tiny.en", "whisper-base", "openai-large"]),
        (("en-US",), ["moonshine-tiny", "whisper-tiny.en", "whisper-base", "openai-large"]),
        (("de",), ["whisper-base", "openai-large"]),
        (("de", "en"), ["whisper-base", "openai-large"]),
        (("zu",), ["openai-large"]),
        ((), ["whisper-base", "openai-large"]),
    ],
)
def test_the_specialised_engine_is_preferred_and_the_paid_one_comes_last(wanted, pools):
    assert chosen(ALL, *wanted) == pools


def test_of_two_equal_engines_the_one_with_the_larger_capacity_per_worker_is_preferred():
    assert chosen([TINY_EN, MOONSHINE], "en") == ["moonshine-tiny", "whisper-tiny.en"]
    slow = [report("moonshine", "tiny", worker=f"m{n}", languages=["en"], capacity=6) for n in range(4)]
    assert chosen([TINY_EN, *slow], "en") == ["whisper-tiny.en", "moonshine-tiny"]  # 10 against 6 each


def test_an_unknown_language_goes_to_a_pool_of_one_language_only_if_there_is_no_other():
    assert chosen([MOONSHINE]) == ["moonshine-tiny"]
    assert chosen([MOONSHINE, TINY_EN]) == ["moonshine-tiny", "whisper-tiny.en"]
    assert chosen([MOONSHINE, BASE]) == ["whisper-base"]
    assert chosen([{**MOONSHINE, "stages": ["x"]}, BASE], stages=["x"]) == ["moonshine-tiny"]


def test_only_pools_that_have_the_task_and_all_stages_are_chosen():
    assert chosen(ALL, "en", task="translate") == ["whisper-base", "openai-large"]
    both = [report("moonshine", "tiny", languages=["en"], stages=["a", "b"]), BASE]
    assert chosen(both, "en", stages=["b", "a"]) == ["moonshine-tiny"]


def test_a_stage_counts_only_if_all_workers_of_the_pool_have_it():
    pool = [
        report("moonshine", "tiny", worker="m1", languages=["en"], stages=["a", "b"], capacity=5, chunks=1),
        report("moonshine", "tiny", worker="m2", languages=["en"], stages=["b"], capacity=7, chunks=2),
    ]
    [found] = pools_of(pool)

    assert found.stages == {"b"}
    assert (found.workers, found.capacity, found.chunks) == (2, 12, 3)
    with pytest.raises(NoPoolError, match=r"every transcriber of a pool has \(b\), but got a"):
        chosen(pool, stages=["a"])


@pytest.mark.parametrize(
    ("workers", "wanted", "task", "stages", "lacking", "says"),
    [
        (
            [MOONSHINE, BASE],
            ["zu"],
            "transcribe",
            [],
            "language",
            r"but got zu; it has moonshine-tiny \(en; tr",
        ),
        ([MOONSHINE, BASE], ["de", "zu"], "transcribe", [], "language", "Expected languages .* got de, zu"),
        ([MOONSHINE], ["en"], "translate", [], "task", "can't translate; it has moonshine-tiny"),
        ([MOONSHINE, BASE], ["de"], "transcribe", ["x"], "stages", r"stages .*\(none\), but got x"),
        (
            [{**MOONSHINE, "stages": ["x"]}, BASE],
            ["de"],
            "transcribe",
            ["x"],
            "",
            "transcribe de with the stages x",
        ),
        (
            [{**MOONSHINE, "stages": ["x"]}, BASE],
            [],
            "translate",
            ["x"],
            "",
            "translate speech of an unknown",
        ),
    ],
)
def test_what_no_pool_can_do_is_refused_with_what_the_pools_can(workers, wanted, task, stages, lacking, says):
    with pytest.raises(NoPoolError, match=says) as refused:
        choose(workers, wanted, task, stages)
    assert refused.value.lacking == lacking
    assert refused.value.code == "invalid_request"


def test_the_languages_of_a_large_pool_are_counted_in_errors():
    many = report("faster-whisper", "large", languages=[f"a{n}" for n in range(99)])
    with pytest.raises(NoPoolError, match=r"whisper-large \(99 languages; transcribe\)"):
        chosen([many], "de")


def test_without_a_transcriber_there_is_no_capacity():
    with pytest.raises(AtCapacityError, match="No transcriber is running"):
        choose([GATEWAY], ["de"], "transcribe", [])
