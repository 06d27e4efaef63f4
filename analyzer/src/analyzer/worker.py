"""The worker: analyses jobs, annotates live sessions, and makes digests of them."""

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from analyzer import metrics
from analyzer.digest import DigestProcessor
from analyzer.language_model import LanguageModel
from analyzer.live import LiveAnalysis
from analyzer.resources import Resources
from analyzer.settings import AnalyzerSettings
from analyzer.step_runner import StepRunner
from analyzer.steps import table
from analyzer.tasks import TaskProcessor
from parlando.models.store import ModelStore
from parlando.store import keys as names
from parlando.store.analysis_tasks import ANALYZER, DIGESTS, AnalysisTasks
from parlando.store.annotations import Annotations
from parlando.store.connection import connect
from parlando.store.history import History
from parlando.store.job_store import Jobs
from parlando.store.keys import ANALYZERS
from parlando.store.pubsub import Channels
from parlando.store.requests import Responder
from parlando.store.work_queue import WorkQueue
from parlando.worker.follower import FollowerPool
from parlando.worker.queue_pool import QueuePool
from parlando.worker.service import Pool, WorkerService

DRAIN_S: Final = 10.0
LEASE_S: Final = 5.0
DIGESTS_AT_ONCE: Final = 4
CHANNEL_CONNECTIONS: Final = 16


class AnalyzerWorker(WorkerService):
    """One process of the analyzer."""

    kind = ANALYZER

    def __init__(self, settings: AnalyzerSettings) -> None:
        super().__init__(settings, drain_s=DRAIN_S)
        partitions = settings.partitions
        self._language_model = _language_model(settings)
        self._resources = Resources(ModelStore(), self._language_model, settings.translation_model)
        self._steps = StepRunner(
            table.load(self._resources, settings.analysis_steps),
            language_model=self._language_model is not None,
        )
        self._channels_redis = connect(settings.redis_url, connections=CHANNEL_CONNECTIONS)
        self._channels = Channels(self._channels_redis)
        history = History(self.redis, partitions=partitions)
        tasks = TaskProcessor(
            Jobs(self.redis, partitions=partitions, ttl_s=0, limit=0),
            history,
            self._channels,
            AnalysisTasks(self.redis, partitions=partitions),
            Annotations(self.redis, partitions=partitions),
            self._steps,
        )
        self._tasks = QueuePool(
            "tasks",
            WorkQueue(
                self.redis, names.tasks, ANALYZERS, worker=self.id, partitions=partitions, lease_s=LEASE_S
            ),
            tasks.process,
            concurrency=settings.analysis_tasks,
            lease_s=LEASE_S,
        )
        self._digests = QueuePool(
            "digests",
            WorkQueue(
                self.redis,
                lambda _: DIGESTS.stream,
                ANALYZERS,
                worker=self.id,
                partitions=1,
                lease_s=LEASE_S,
            ),
            Responder(self.redis, DIGESTS, DigestProcessor(history, self._steps).process).respond,
            concurrency=DIGESTS_AT_ONCE,
            lease_s=LEASE_S,
        )
        self._live = FollowerPool(
            LiveAnalysis(self._steps), self.redis, worker=self.id, partitions=partitions
        )

    def pools(self) -> Sequence[Pool]:
        """Tasks, live sessions, digests."""
        return [self._tasks, self._live, self._digests]

    def services(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The channels of the jobs that are being transcribed."""
        return [self._channels.run()]

    async def after_beat(self) -> None:
        """Count the tasks."""
        metrics.TASKS.set(self._tasks.count)

    async def close(self) -> None:
        """Close the connections and the thread."""
        self._resources.close()
        await self._channels.aclose()
        await self._channels_redis.aclose()
        if self._language_model is not None:
            await self._language_model.aclose()

    def report(self) -> dict[str, Any]:
        """See `WorkerService`."""
        return {
            "analyses": self._tasks.count,
            "steps": self._steps.names,
            "language_model": self._language_model is not None,
        }


def _language_model(settings: AnalyzerSettings) -> LanguageModel | None:
    if not settings.llm_model:
        return None
    return LanguageModel(
        settings.llm_base_url,
        settings.llm_model,
        settings.llm_api_key,
        timeout_s=settings.llm_timeout_s,
        piece_chars=settings.llm_piece_chars,
        input_price=settings.llm_price_input_usd,
        output_price=settings.llm_price_output_usd,
    )
