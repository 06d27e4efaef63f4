"""One case for each Lua script on analyses, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from parlando.domain.analysis import TaskUpdate
from parlando.domain.job_options import JobOptions
from parlando.store.analysis_tasks import AnalysisTasks
from parlando.store.job_store import Jobs, Source
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


CASES: Final[dict[str, Callable[[Stage], Awaitable[Any]]]] = {"task_update": _task_update}
