"""The zip archive of an export: complete, and of bounded memory."""

import io
import random
import tracemalloc
from zipfile import ZipFile

from api_gateway.owners.zip_stream import ZipStream

FILES = 200
SIZE = 200_000


async def test_the_archive_is_readable_and_no_file_stays_in_memory():
    chance = random.Random(1)
    contents = [chance.randbytes(SIZE) for _ in range(4)]
    out, received, largest = ZipStream(), io.BytesIO(), 0
    tracemalloc.start()
    base, _ = tracemalloc.get_traced_memory()
    for number in range(FILES):
        part = await out.add(f"sessions/{number}.json", contents[number % 4])
        largest = max(largest, len(part))
        del part
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert SIZE <= largest < 2 * SIZE
    assert peak - base < 20 * SIZE, "40 MB went through"

    out = ZipStream()
    for number in range(8):
        received.write(await out.add(f"users/ü/{number}.txt", contents[number % 4]))
    received.write(out.end())
    archive = ZipFile(received)
    assert archive.testzip() is None
    assert archive.namelist() == [f"users/ü/{number}.txt" for number in range(8)]
    assert archive.read("users/ü/5.txt") == contents[1]
