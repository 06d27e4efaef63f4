"""Object stores by URL: a folder of this machine, or anything that speaks S3."""

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from parlando.errors import StorageError

TIMEOUT: Final = "10s"
FAILURES: Final = (BaseError, OSError)
"""What a store raises that can't be reached, or is full."""


def data_folder(name: str) -> Path:
    """Where this machine's user keeps Parlando's data of that kind (XDG base directories)."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "parlando" / name


def open_store(
    url: str, *, endpoint: str = "", region: str = "auto", access_key_id: str = "", secret: str = ""
) -> ObjectStore:
    """The store at `url`: a folder, which is made, or `s3://bucket/prefix`; nothing is connected yet.

    `endpoint`: URL of an S3 that isn't Amazon's. Without a key the environment's credentials are used.

    Raises
    ------
    StorageError
        if the folder can't be made.

    """
    if not url.startswith("s3://"):
        folder = Path(url.removeprefix("file://"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The folder {folder} can't be made ({error}); name one that can, or an S3"
            ) from error
        return LocalStore(folder)
    parts = urlsplit(url)
    options: dict[str, Any] = {"region": region}
    if endpoint:
        options |= {"endpoint": endpoint}
    if access_key_id:
        options |= {"access_key_id": access_key_id, "secret_access_key": secret}
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": TIMEOUT},
        retry_config={"max_retries": 1},
        **options,
    )
