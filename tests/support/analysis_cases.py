"""One case for each Lua script on analyses, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from parlando.domain.analysis import TaskUpdate
from parlando.domain.job_options import JobOptions
from parlando.store.analysis_tasks import DIGESTS, AnalysisTasks
from parlando.store.job_store import Jobs, Source
from parlando.store.requests import CountedReply, Request, Responder
from parlando.store.usage import Spent
from parlando.store.work_queue import Delivered
from support.pools import POOL
from support.song_cases import Stage


async def _task_update(stage: Stage) -> Any:
    jobs = Jobs(stage.redis, partitions=1, ttl_s=60, limit=10)
    await jobs.submit("j_1", Source("b", "a.wav"), JobOptions(analyze="entities"), pool=POOL, key="k")
    tasks = AnalysisTasks(stage.redis, partitions=1)
    stage.arm()
    await tasks.update(TaskUpdate(task_id="j_1", step="started", progress=5, message="m"), kept=True)
    state = await tasks.state(await jobs.record("j_1"))
    return state.seq, [TaskUpdate.model_validate_json(e).step for e in await tasks.events("j_1", after=0)]


async def _reply(stage: Stage) -> Any:
    await stage.redis.xgroup_create(DIGESTS.stream, DIGESTS.group, mkstream=True)
    fields = {"id": "r", "kind": "digest", "fields": "{}", "timeout_s": "60"}
    entry = await stage.redis.xadd(DIGESTS.stream, fields)

    async def process(request: Request) -> CountedReply:
        return CountedReply({"answer": request.id}, "k" * 40, Spent(1, 20, 3, 40))

    stage.arm()
    found = {name.encode(): value.encode() for name, value in fields.items()}
    await Responder(stage.redis, DIGESTS, process).respond(Delivered(0, entry.decode(), found, 1))
    await stage.redis.delete(DIGESTS.stream)


CASES: Final[dict[str, Callable[[Stage], Awaitable[Any]]]] = {"reply": _reply, "task_update": _task_update}
