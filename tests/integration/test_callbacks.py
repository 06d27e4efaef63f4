"""Callbacks of several gateways over real sockets: once to a slow endpoint, past one that never answers."""

import asyncio
from collections import Counter

import orjson
import pytest

from api_gateway.deliveries.callbacks import JobCallbacks
from api_gateway.settings import GatewaySettings
from parlando.domain.job_options import JobOptions
from parlando.ids import new_job_id
from parlando.outbound import Outbound
from parlando.store.connection import connect
from parlando.store.job_claims import JobClaims, JobLog
from parlando.store.job_store import Jobs, Source
from parlando.tasks import end
from support.deliveries import until
from support.pools import POOL


class Endpoint:
    """Notes what it is sent and answers after `delay_s`, or never."""

    def __init__(self, delay_s: float | None = 0.0) -> None:
        self.calls: Counter[str] = Counter()
        self.open = self.max_open = 0
        self._delay_s = delay_s

    async def __aenter__(self) -> "Endpoint":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/done"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.max_open = max(self.max_open, self.open)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                body = await reader.readexactly(int(lines[b"content-length"]))
                self.calls[orjson.loads(body)["job_id"]] += 1
                if self._delay_s is None:
                    await reader.read()  # until the caller gives up
                    return
                await asyncio.sleep(self._delay_s)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


class Gateways:
    """Callers of several gateways, and jobs that have ended."""

    def __init__(self, url: str) -> None:
        self.redis = connect(url)
        self.jobs = Jobs(self.redis, partitions=1, ttl_s=1000, limit=1000)
        self.outbound = Outbound(allow_private=True, setting="X")
        self.claims = JobClaims(self.redis, worker="p", partitions=1, lease_s=100)
        self.callers: list[JobCallbacks] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> JobCallbacks:
        settings = GatewaySettings(api_keys=("a", "b"))
        name = f"gateway-{len(self.callers)}"
        caller = JobCallbacks(self.redis, self.jobs, self.outbound, settings, worker=name)
        self.callers.append(caller)
        self.tasks.append(asyncio.create_task(caller.deliveries.run()))
        return caller

    async def end_job(self, key: str, callback_url: str) -> str:
        job = new_job_id()
        source = Source(f"blob-{job}", "a.wav", 10, "")
        await self.jobs.submit(job, source, JobOptions(callback_url=callback_url), pool=POOL, key=key)
        await self.claims.admit(room=True)
        (claim,) = await self.claims.take_new()
        await JobLog(self.claims.scripts, claim).cut(16_000, 1)
        return job


@pytest.fixture
async def gateways(redis_server):
    made = Gateways(redis_server.url)
    await made.claims.queue.ensure_groups()
    yield made
    await end(*made.tasks)
    await made.outbound.aclose()
    await made.redis.aclose()


async def test_two_gateways_call_a_slow_endpoint_once_for_each_job(gateways):
    """It answers after 3 s; the first delay between attempts is 2 s."""
    async with Endpoint(delay_s=3) as slow:
        jobs = {await gateways.end_job("a", slow.url) for _ in range(8)}
        first, second = gateways.start(), gateways.start()
        await until(lambda: set(slow.calls) == jobs)
        await until(lambda: first.deliveries.waiting == second.deliveries.waiting == 0)

    assert set(slow.calls.values()) == {1}
    assert first.deliveries.failures == second.deliveries.failures == 0


async def test_an_endpoint_that_never_answers_delays_no_other_tenant(gateways):
    async with Endpoint(delay_s=None) as hole, Endpoint() as fine:
        for _ in range(40):
            await gateways.end_job("a", hole.url)
        gateways.start()
        await until(lambda: hole.open == 4)
        jobs = {await gateways.end_job("b", fine.url) for _ in range(20)}
        await until(lambda: set(fine.calls) == jobs)

    assert hole.max_open < 8, "a quarter of the slots, and what is being closed"
    assert set(fine.calls.values()) == {1}
