"""The Python client of the seed's streaming guide, with a form and an address.

Arguments: URL, file, JSON of the further fields. Prints each update and the line that the guide prints.
"""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp

url, path, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


async def main() -> None:
    form_data = aiohttp.FormData()
    form_data.add_field("audio", Path(path).read_bytes(), filename="audio.wav")  # noqa: ASYNC240
    for name, value in fields.items():
        form_data.add_field(name, value)
    async with aiohttp.ClientSession(url) as session:  # noqa: SIM117 as in the guide
        async with session.post("/audio/process-stream-realtime", data=form_data) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    update = json.loads(line[6:])
                    print(json.dumps(update), flush=True)
                    print(json.dumps(f"Progress: {update['progress']}% - {update['message']}"), flush=True)

                    if update["step"] == "completed":
                        break


asyncio.run(main())
