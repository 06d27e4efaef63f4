"""A bucket of an S3 service on this machine, as blob store."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

from parlando.blobs import Blobs, BlobSettings
from support.ports import free_port

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


@contextmanager
def bucket() -> Iterator[Blobs]:
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    boto3.client("s3", endpoint_url=endpoint, **KEYS).create_bucket(Bucket="audio")
    try:
        yield Blobs.of(
            BlobSettings(
                blob_url="s3://audio/parlando",
                blob_endpoint=endpoint,
                blob_region=KEYS["region_name"],
                blob_access_key_id=KEYS["aws_access_key_id"],
                blob_secret_access_key=KEYS["aws_secret_access_key"],
            )
        )
    finally:
        server.stop()
