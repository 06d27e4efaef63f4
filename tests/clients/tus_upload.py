"""tuspy: python tus_upload.py <http://host:port> <key> <file> <bytes per request> <requests> [<address>].

Uploads with as many requests at most, from the beginning or, with an address, from where the server is.
Prints the upload's address and its offset.
"""

import json
import sys

from tusclient.client import TusClient

base, key, file, size, requests, *address = sys.argv[1:]
client = TusClient(f"{base}/v1/uploads", headers={"Authorization": f"Bearer {key}"})
more = {"url": address[0]} if address else {"metadata": {"filename": "talk.wav", "filetype": "audio/wav"}}
uploader = client.uploader(file, chunk_size=int(size), **more)
for _ in range(int(requests)):
    if uploader.offset < uploader.get_file_size():
        uploader.upload_chunk()
print(json.dumps({"address": uploader.url, "offset": uploader.offset}))
