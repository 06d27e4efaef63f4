"""The table of the comparison, with everything a reader needs to judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.peers.measuring import PATIENCE_S, Figures
from bench.peers.system import System
from bench.results import Table

HOPELESS = 50.0  # per cent of the words missing: more sessions aren't tried
COLUMNS = (
    "system",
    "sessions",
    "WER %",
    "words missing %",
    "first words p50 s",
    "p95 s",
    "clips unseen %",
    "tail p50 s",
    "tail max s",
    "sessions failed",
    "CPU, cores",
    "memory MB",
)
HELP = (
    "Done to help the others: each gets a fresh server for each number of sessions, a warm-up session "
    "before the measured ones, the language, and PCM, so that no FFmpeg runs. WhisperLiveKit also gets a "
    "recording for its own warm-up, and logs warnings only; for SimulStreaming the same weights as a "
    "checkpoint of openai-whisper and tiny.en's alignment heads. WhisperLive decodes nothing "
    "after `END_OF_AUDIO`; its own client sends it 15 s after the last new text, and so does this one. "
    "That wait isn't counted."
)


def comparison(
    found: Sequence[Figures], systems: Sequence[System], versions: Mapping[str, str], seconds: float
) -> Table:
    """The table. `versions`: by the systems' distributions. `seconds`: of speech in each session."""
    table = Table("peers", "Whisper tiny.en, live: Parlando and its peers", COLUMNS)
    table.rows = [_row(each) for each in found]
    complete = sorted(found, key=lambda each: -each.failed)  # the last one of a number has the most clips
    offline = {each.sessions: each.wer_offline for each in complete if each.wer_offline is not None}
    table.rows += [("offline, beam 5", count, wer, *[None] * 9) for count, wer in sorted(offline.items())]
    table.remarks = [
        f"The same weights and the same clips (held-out read English, {seconds:.0f} s per session, each "
        "session in another order), in one run, in real time in frames of 100 ms over loopback; what "
        f"sends them runs on the same cores. A system that misses more than {HOPELESS:.0f} % of the words "
        "is measured once more, and the better result counts; if that misses as many, more sessions "
        "aren't tried.",
        "*WER*: of the whole text of a session, after Whisper's English normaliser. *Words missing*: "
        "spoken words that nothing stands for. *First words*: from the start of a clip's speech until "
        "text of it is shown, over the clips of which any is. *Tail*: from the last frame until the text "
        f"changes for the last time; {PATIENCE_S:.0f} s are waited. *Failed*: refused or broken off; the "
        "other figures are without them. *Memory*: of all processes. *Offline*: faster-whisper on the "
        "whole clips of these sessions.",
        *(f"{each.name} {versions[each.distribution]}: {each.flags}." for each in systems),
        HELP,
    ]
    table.data = {"figures": [asdict(each) for each in found], "versions": dict(versions)}
    return table


def _row(each: Figures) -> tuple[object, ...]:
    return (
        each.system,
        each.sessions,
        each.wer,
        each.missing,
        each.first_p50,
        each.first_p95,
        each.unseen,
        each.tail_p50,
        each.tail_max,
        each.failed,
        each.cpu,
        each.memory_mb,
    )
