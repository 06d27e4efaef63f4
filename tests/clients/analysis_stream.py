"""The Python client of the seed's streaming guide, with its file and its address. Prints what it prints, and all
updates, as JSON lines."""

import asyncio
import json
import sys

import aiohttp

url, path, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


async def main() -> None:
    form_data = aiohttp.FormData()
    with open(path, "rb") as file:
        form_data.add_field("audio", file, filename="audio.wav")
        for name, value in fields.items():
            form_data.add_field(name, value)
        async with aiohttp.ClientSession(url) as session:
            async with session.post("/audio/process-stream-realtime", data=form_data) as response:
                async for line in response.content:
                    if line.startswith(b"data: "):
                        update = json.loads(line[6:])
                        print(json.dumps(update), flush=True)
                        print(
                            json.dumps(f"Progress: {update['progress']}% - {update['message']}"), flush=True
                        )

                        if update["step"] == "completed":
                            break


asyncio.run(main())
