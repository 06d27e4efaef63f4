"""The time that the check of a key takes at 1,000 checks a second: `python -m bench.access [seconds]`.

A gateway's copy of nine hundred keys over a real Redis. Meanwhile a key is created and revoked each second,
so that the copy is read again. A second table has the limit of requests: a hundred keys of ten owners with
ten requests a second each, which are checked and counted.
"""

import asyncio
import sys
import time
from itertools import cycle

import numpy as np
import uvloop

from api_gateway.auth import Access
from api_gateway.handshake import Handshake
from api_gateway.limits.allowances import Allowances
from api_gateway.limits.requests import RequestRate
from api_gateway.limits.windows import RequestWindows
from api_gateway.permissions import Rule
from api_gateway.settings import GatewaySettings
from bench.results import Table
from parlando.domain.access import ALL_SCOPES, Scope
from parlando.domain.limits import NO_LIMITS, Limits
from parlando.errors import NotAllowedError
from parlando.store.api_keys import MAX_KEYS, ApiKeys, KeyRequest
from parlando.store.connection import connect
from parlando.store.key_ring import KeyRing
from parlando.store.pubsub import Channels
from parlando.store.token_secret import TokenSecret
from support.redis_server import RedisServer

PER_SECOND = 1000
TURNOVER = 100  # keys that are made and revoked while it measures, at most
REQUEST = KeyRequest("bench", "o" * 64, "", tuple(sorted(ALL_SCOPES)))
RULE = Rule(Scope.JOBS)


def sending(credential: str) -> Handshake:
    """A handshake with a key."""
    return Handshake(peer="192.0.2.1", headers={"authorization": f"Bearer {credential}"})


async def _turnover(keys: ApiKeys) -> int:
    """Create and revoke a key each second, until cancelled."""
    while True:
        key, _ = await keys.create(REQUEST)
        await keys.revoke(key.id)
        await asyncio.sleep(1)


async def measured(seconds: int) -> Table:
    """Measure each kind of credential in turn, one per check."""
    server = RedisServer()
    server.start()
    redis, channels_redis = connect(server.url), connect(server.url)
    channels = Channels(channels_redis)
    ring = KeyRing(ApiKeys(redis), channels)
    access = Access(GatewaySettings(api_keys=("configured",)), TokenSecret(redis), ring)
    secrets = [(await ring.keys.create(REQUEST))[1] for _ in range(MAX_KEYS - TURNOVER)]
    caller = await access.authenticate(sending(secrets[0]), RULE)
    tokens = [(await access.issue(caller, 3600, scopes=[Scope.JOBS]))[0] for _ in range(100)]
    kinds = {
        "key of API_KEYS": cycle([sending("configured")]),
        "stored key": cycle(map(sending, secrets)),
        "token": cycle(map(sending, tokens)),
        "wrong key": cycle([sending("wrong"), sending(secrets[0][:-4] + "0000")]),
    }
    took: dict[str, list[float]] = {name: [] for name in kinds}
    tasks = [asyncio.create_task(loop) for loop in (channels.run(), ring.run(), _turnover(ring.keys))]
    begun = time.perf_counter()
    for number in range(seconds * PER_SECOND):
        due = begun + number / PER_SECOND
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        name = [*kinds][number % len(kinds)]
        handshake = next(kinds[name])
        started = time.perf_counter()
        try:
            await access.authenticate(handshake, RULE)
        except NotAllowedError:
            assert name == "wrong key", name
        took[name].append(time.perf_counter() - started)
    elapsed = time.perf_counter() - begun
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for each in (channels, redis, channels_redis):
        await each.aclose()
    server.stop()
    table = Table(
        "access", "Check of a key", ["credential", "checks", "p50 ms", "p95 ms", "p99 ms", "max ms"]
    )
    for name, values in took.items():
        quantiles = np.percentile(np.array(values) * 1000, [50, 95, 99, 100])
        table.rows.append([name, len(values), *(f"{value:.3f}" for value in quantiles)])
    table.remarks.append(
        f"{len(secrets)} stored keys; {seconds * PER_SECOND / elapsed:.0f} checks a second for "
        f"{elapsed:.0f} s; one key created and revoked each second."
    )
    return table


KEYS, OWNERS = 100, 10  # of the measurement of limits


async def limited(seconds: int) -> Table:
    """Measure the check and the count of a request, by whose limits there are."""
    server = RedisServer()
    server.start()
    redis, channels_redis = connect(server.url), connect(server.url)
    channels = Channels(channels_redis)
    ring = KeyRing(ApiKeys(redis), channels)
    access = Access(GatewaySettings(api_keys=("configured",)), TokenSecret(redis), ring)
    table = Table(
        "limits",
        "Check and count of a request",
        ["limits of", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms"],
    )
    for of in ("none", "the key", "the owner", "both"):
        default = Limits(requests_minute=50_000) if of in ("the owner", "both") else NO_LIMITS
        own = Limits(requests_minute=900) if of in ("the key", "both") else NO_LIMITS
        handshakes = []
        for number in range(KEYS):
            owner = f"{number % OWNERS}{of}".ljust(64, "0")
            request = KeyRequest("bench", owner, "", tuple(sorted(ALL_SCOPES)), limits=own)
            handshakes.append(sending((await ring.keys.create(request))[1]))
        await ring.read()
        allowances = Allowances(default, owner=lambda _: NO_LIMITS, key=ring.limits)
        rate = RequestRate(RequestWindows(redis), allowances)
        took: list[float] = []

        async def one(handshake: Handshake, rate: RequestRate = rate, took: list[float] = took) -> None:
            started = time.perf_counter()
            caller = await access.authenticate(handshake, RULE)
            (await rate.take(caller.holder)).check()
            took.append(time.perf_counter() - started)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(seconds * PER_SECOND):
                if (wait := begun + number / PER_SECOND - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(one(handshakes[number % KEYS]))
        elapsed = time.perf_counter() - begun
        quantiles = np.percentile(np.array(took) * 1000, [50, 95, 99, 100])
        table.rows.append([of, len(took), *(f"{value:.3f}" for value in quantiles)])
        table.remarks.append(f"{of}: {len(took) / elapsed:.0f} requests a second.")
    for each in (channels, redis, channels_redis):
        await each.aclose()
    server.stop()
    return table


if __name__ == "__main__":
    duration = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    for measurement in (measured, limited):
        uvloop.run(measurement(duration)).publish()  # as the gateway does
