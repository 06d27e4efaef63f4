"""One case for each script: calls it as its users do, with everything that must be there before."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from parlando.domain.audio import Encoding
from parlando.domain.commands import Configure, End, Flush
from parlando.domain.events import Closed, FinalTranscript, Partial, Status, encode
from parlando.domain.formats import AudioFormat
from parlando.domain.known_speakers import VoiceClip
from parlando.domain.pools import UNASSIGNED
from parlando.domain.transcript import FinalSegment, SpeakerRun, TimedWord
from parlando.errors import AtCapacityError, EngineError
from parlando.store.annotations import Annotations
from parlando.store.keys import POOLS, WORKERS
from parlando.store.known_speakers import KnownSpeakers
from parlando.store.pools import Place
from parlando.store.session_log import Checkpoint
from parlando.store.sessions import SessionWriter
from support import access_cases, analysis_cases, delivery_cases, limit_cases, song_cases, upload_cases
from support.pools import POOL, alive, report
from support.script_stage import JOB, MOST, RAW, SECOND, Stage

Case = Callable[[Stage], Awaitable[Any]]
CASES: dict[str, Case] = {
    **access_cases.CASES,
    **analysis_cases.CASES,
    **delivery_cases.CASES,
    **limit_cases.CASES,
    **song_cases.CASES,
    **upload_cases.CASES,
}


def case(run: Case) -> Case:
    """A case, `_` and the name of the script that it loses the answer of."""
    CASES[run.__name__.removeprefix("_")] = run
    return run


# --- a gateway's calls on a session -------------------------------------------------------------------


@case
async def _open(stage: Stage) -> Any:
    stage.arm()
    writer = await stage.open(uid="u", form=RAW, places=[Place(POOL, 1)])
    return writer.seq, writer.received


@case
async def _attach(stage: Stage) -> Any:
    await stage.open()
    stage.arm()
    attached = await stage.sessions.attach("s", token="t")
    return attached.seq, attached.state, attached.config


@case
async def _annotate(stage: Stage) -> Any:
    await stage.open()
    annotations = Annotations(stage.redis, partitions=1)
    keys = annotations.of_session("s")
    stage.arm()
    number = await annotations.add(keys, name="n", kind="song", by="songs", data={"title": "A"})
    return number, [each.data for each in [each async for each in annotations.all(keys)]]


@case
async def _name_speaker(stage: Stage) -> Any:
    await stage.open()
    annotations = Annotations(stage.redis, partitions=1)
    keys = annotations.of_session("s")
    stage.arm()
    names = await annotations.name_speaker(keys, "SPEAKER_00", "Anna")
    return names, [each.data for each in [each async for each in annotations.all(keys)]]


@case
async def _add_known_speaker(stage: Stage) -> Any:
    known = KnownSpeakers(stage.redis, partitions=1)
    stage.arm()
    added = await known.add("k" * 16, "Anna", VoiceClip(seconds=7.5, vector="AAAA", digest="d"))
    return added.name, added.clips, [each.clips for each in await known.all("k" * 16)]


@case
async def _append(stage: Stage) -> Any:
    writer = await stage.open()
    stage.arm()
    return await writer.append(SECOND, MOST), writer.received


@case
async def _append_raw(stage: Stage) -> Any:
    writer = await stage.open(form=RAW)
    stage.arm()
    return await writer.append(b"bytes", MOST), writer.received


@case
async def _control(stage: Stage) -> Any:
    writer = await stage.open()
    stage.arm()
    await writer.command(Configure(changes={"title": "new"}))


@case
async def _touch(stage: Stage) -> Any:
    writer = await stage.open()
    stage.arm()
    await writer.touch()


@case
async def _reformat(stage: Stage) -> Any:
    writer = await stage.open(form=AudioFormat(encoding=Encoding.CONTAINER))
    stage.arm()
    await writer.reformat(RAW)
    return writer.received, writer.format


@case
async def _add_viewer(stage: Stage) -> Any:
    await stage.open()
    stage.arm()
    return await stage.viewers.add("s", "a label")


@case
async def _remove_viewer(stage: Stage) -> Any:
    await stage.open()
    viewer, _ = await stage.viewers.add("s")
    stage.arm()
    await stage.viewers.revoke("s", viewer.id)


# --- audio in bodies ----------------------------------------------------------------------------------


@case
async def _body(stage: Stage) -> Any:
    await stage.body("first")
    stage.arm()
    return await stage.body("second")


@case
async def _adopt(stage: Stage) -> Any:
    stage.arm()
    return await stage.body()


@case
async def _abandon(stage: Stage) -> Any:
    async def refused(sid: str, form: AudioFormat) -> SessionWriter:
        raise AtCapacityError("no room")

    stage.arm()
    with pytest.raises(AtCapacityError, match="no room"):
        await stage.bodies.take("k", "u", 16_000, SECOND, name="n", named=True, opening=refused)


@case
async def _claim_file(stage: Stage) -> Any:
    sent: list[str] = []

    async def sending(sid: str) -> None:
        sent.append(sid)

    stage.arm()
    return await stage.bodies.take_file("k", "u", name="n", named=True, sending=sending), sent


@case
async def _discard(stage: Stage) -> Any:
    await stage.body()
    stage.arm()
    return await stage.bodies.discard("k", "u")


@case
async def _count(stage: Stage) -> Any:
    stage.arm()
    await stage.bodies.refused_signature("k", "u")
    return await stage.bodies.state("k", "u")


# --- a worker's calls on a session --------------------------------------------------------------------


@case
async def _claim(stage: Stage) -> Any:
    await stage.open()
    stage.arm()
    [claim] = await stage.claims.take_new(block_ms=100)
    return claim.epoch, claim.config


@case
async def _adopt_session(stage: Stage) -> Any:
    await stage.open(places=[Place(UNASSIGNED)])
    await alive(stage.redis)
    stage.arm()
    await stage.unassigned.adopt_sessions(POOL)
    await stage.redis.delete(WORKERS, POOLS)
    return [claim.name for claim in await stage.claims.take_new(block_ms=100)]


@case
async def _refresh(stage: Stage) -> Any:
    await stage.open()
    claims = await stage.claims.take_new(block_ms=100)
    stage.arm()
    return await stage.claims.renew(claims)


@case
async def _release(stage: Stage) -> Any:
    await stage.open()
    [claim] = await stage.claims.take_new(block_ms=100)
    stage.arm()
    await stage.claims.hand_back(claim)


@case
async def _fail(stage: Stage) -> Any:
    await stage.open()
    [claim] = await stage.claims.take_new(block_ms=100)
    stage.arm()
    await stage.claims.failed(claim, ValueError("a bug"))


@case
async def _partial(stage: Stage) -> Any:
    writer, owned = await stage.owned()
    await writer.append(SECOND, MOST)
    event = Partial(session_id="s", segment=0, text="hel", stable="", start=0, end=1)
    stage.arm()
    await owned.publish(encode(event), state={"index": 0}, decoded=8000)


@case
async def _commit(stage: Stage) -> Any:
    writer, owned = await stage.owned(uid="u", push=True)
    await writer.append(SECOND, MOST)
    await writer.command(Flush())
    stage.arm()
    final = FinalTranscript(session_id="s", segment=0, text="hello", start=0, end=1)
    closed = Closed(session_id="s", duration=1, segments=1, reason="end")
    await owned.commit(
        [final, closed],
        decoded=16_000,
        segments=1,
        checkpoint=Checkpoint(16_000, {"x": 1}, control=1),
        close=True,
    )
    return owned.seq


@case
async def _emit(stage: Stage) -> Any:
    writer, intake = await stage.converted()
    await writer.append(b"bytes", MOST)
    stage.arm()
    notice = Status(session_id="s", status="silence_added", ms=1000, reason="timestamps")
    marks = {"converted": 5, "needed": 5, "state": {}}
    return await intake.emit(SECOND, max_backlog=MOST, notices=[notice], **marks), intake.emitted


@case
async def _forward(stage: Stage) -> Any:
    writer, intake = await stage.converted()
    await writer.command(Flush())
    stage.arm()
    await intake.forward(Flush(), 1)
    await intake.forward(End(reason="broken"), None)


# --- jobs ---------------------------------------------------------------------------------------------


@case
async def _submit_job(stage: Stage) -> Any:
    stage.arm()
    return await stage.submit()


@case
async def _assign_job(stage: Stage) -> Any:
    await stage.submit(UNASSIGNED)
    stage.arm()
    return await stage.unassigned.assign_jobs([report()])


@case
async def _admit_job(stage: Stage) -> Any:
    await stage.submit()
    stage.arm()
    return await stage.processor.admit(room=True)


@case
async def _claim_job(stage: Stage) -> Any:
    await stage.submit()
    await stage.processor.admit(room=True)
    stage.arm()
    [claim] = await stage.processor.take_new()
    return claim.epoch, claim.record.attempts


@case
async def _refresh_job(stage: Stage) -> Any:
    claim, _ = await stage.job()
    stage.arm()
    return await stage.processor.renew([claim])


@case
async def _leave_job(stage: Stage) -> Any:
    claim, _ = await stage.job()
    stage.arm()
    await stage.processor.hand_back(claim)


@case
async def _add_chunk(stage: Stage) -> Any:
    _, job = await stage.job()
    stage.arm()
    return await stage.add(job)


@case
async def _cut_job(stage: Stage) -> Any:
    _, job = await stage.job()
    stage.arm()
    await job.cut(16_000, 1)  # without a chunk: that's the job's end


@case
async def _end_job(stage: Stage) -> Any:
    _, job = await stage.job()
    stage.arm()
    await job.fail("audio_failed", "it broke")


@case
async def _forget_job(stage: Stage) -> Any:
    _, job = await stage.job()
    await job.fail("audio_failed", "it broke")
    record = await stage.jobs.record(JOB)
    stage.arm()
    await stage.jobs.forget(record)


@case
async def _claim_chunk(stage: Stage) -> Any:
    _, job = await stage.job()
    await stage.add(job)
    stage.arm()
    [claim] = await stage.chunks.take_new(block_ms=100)
    return claim.index, claim.options, claim.language


@case
async def _return_chunk(stage: Stage) -> Any:
    claim = await stage.chunk()
    stage.arm()
    await stage.chunks.failed(claim, EngineError("it broke"))


@case
async def _renew_chunk(stage: Stage) -> Any:
    claim = await stage.chunk()
    stage.arm()
    return await stage.chunks.renew([claim])


@case
async def _label_job(stage: Stage) -> Any:
    claim = await stage.chunk(diarize=True)
    segment = FinalSegment(
        segment=0, start=0, end=1, text="hi", words=(TimedWord(word="hi", start=0, end=1),)
    )
    await stage.chunks.done(claim, [segment], "en", voices=b"[]")
    [last] = await stage.chunks.take_new(block_ms=100)
    stage.arm()
    await stage.chunks.label(last, [[SpeakerRun(words=1, speaker="SPEAKER_00")]])
    return last.labels_speakers, await stage.jobs.transcript(await stage.jobs.record(JOB))


@case
async def _part(stage: Stage) -> Any:
    claim = await stage.chunk()
    stage.arm()
    await stage.chunks.done(claim, [FinalSegment(segment=0, start=0, end=1, text="hello")], "en")
