"""An S3 service on this machine, and a bucket of it as blob store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from parlando.blobs import Blobs, BlobSettings
from support.ports import free_port

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


@contextmanager
def s3(*buckets: str) -> Iterator[tuple[str, Any]]:
    """An S3 service with these buckets: its URL, and a client of boto3."""
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    try:
        client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
        for name in buckets:
            client.create_bucket(Bucket=name)
        yield endpoint, client
    finally:
        server.stop()


def objects(client: Any, name: str) -> Iterator[tuple[str, bytes]]:
    """The key and the content of each object of a bucket."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for each in page.get("Contents", []):
            yield each["Key"], client.get_object(Bucket=name, Key=each["Key"])["Body"].read()


@contextmanager
def bucket() -> Iterator[Blobs]:
    with s3("audio") as (endpoint, _):
        yield Blobs.of(
            BlobSettings(
                blob_url="s3://audio/parlando",
                blob_endpoint=endpoint,
                blob_region=KEYS["region_name"],
                blob_access_key_id=KEYS["aws_access_key_id"],
                blob_secret_access_key=KEYS["aws_secret_access_key"],
            )
        )
