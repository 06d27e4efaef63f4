"""The version of everything that lies in Redis. Processes of two versions never work on one keyspace."""

from typing import Final

import orjson

from parlando.errors import ParlandoError
from parlando.store.connection import Redis, clock, once
from parlando.store.keys import SCHEMA, WORKERS

VERSION: Final = 2
ALIVE_S: Final = 5.0


class SchemaError(ParlandoError):
    """Raised when Redis is in use by a Parlando whose data this one can't read."""

    code = "schema"


async def check_schema(redis: Redis) -> None:
    """Claim the keyspace for this version, or refuse to work on it.

    Raises
    ------
    SchemaError, UnavailableError

    """
    await once(lambda: redis.set(SCHEMA, VERSION, nx=True))
    found = int(await once(lambda: redis.get(SCHEMA)) or VERSION)
    if found != VERSION:
        raise SchemaError(
            f"Redis holds data of schema {found}, and this Parlando reads schema {VERSION}. Run the version "
            "that wrote it, or give this one another database (REDIS_URL), or delete the keys stt:* when "
            "nothing runs"
        )


async def check_neighbours(redis: Redis) -> None:
    """Refuse to start beside processes of a version that reports another schema, or none.

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
                f"Parlando with schema {VERSION}. Stop all processes of the other version first"
            )
