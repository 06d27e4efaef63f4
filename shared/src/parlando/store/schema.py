"""The schema version of the data in Redis. Processes of two versions must not share a keyspace."""

from typing import Final

import orjson

from parlando.errors import ParlandoError
from parlando.store.connection import Redis, clock, once
from parlando.store.keys import SCHEMA, WORKERS

VERSION: Final = 4
ALIVE_S: Final = 5.0


class SchemaError(ParlandoError):
    """Raised when Redis holds data of another schema version, or is used by a process with one."""

    code = "schema"


async def check_schema(redis: Redis) -> None:
    """Check the schema version of the keyspace; set it if there is none.

    Raises
    ------
    SchemaError, UnavailableError

    """
    await once(lambda: redis.set(SCHEMA, VERSION, nx=True))
    found = int(await once(lambda: redis.get(SCHEMA)) or VERSION)
    if found != VERSION:
        raise SchemaError(
            f"Redis holds data of schema {found}, and this Parlando reads schema {VERSION}. Run the version "
            "that wrote it, use another database (REDIS_URL), or stop all processes and delete the keys stt:*"
        )


async def check_live_workers(redis: Redis) -> None:
    """Check that no live worker reports another schema version, or none.

    Raises
    ------
    SchemaError, UnavailableError

    """
    reports = await once(lambda: redis.hgetall(WORKERS))
    seconds, _ = await once(lambda: clock(redis, WORKERS))
    for encoded in reports.values():
        report = orjson.loads(encoded)
        if seconds - report["at"] < ALIVE_S and report.get("schema") != VERSION:
            raise SchemaError(
                f"{report['worker']} runs on this Redis with schema {report.get('schema', 1)}, and this "
                f"Parlando uses schema {VERSION}. Stop all processes of the other version first"
            )
