"""Object stores by URL: a local folder or an S3-compatible store."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from parlando.errors import StorageError
from parlando.folders import data_folder

__all__ = ["FAILURES", "TIMEOUT", "data_folder", "open_store"]

TIMEOUT: Final = "10s"
FAILURES: Final = (BaseError, OSError)
"""Exceptions raised by a store that is unreachable or full."""


def open_store(
    url: str,
    *,
    endpoint: str = "",
    region: str = "auto",
    access_key_id: str = "",
    secret: str = "",
    tidy: bool = False,
) -> ObjectStore:
    """The store at `url`: a folder (created if missing) or `s3://bucket/prefix`. Opens no connection.

    `endpoint`: URL of an S3-compatible store, "" for Amazon S3. Without `access_key_id` the credentials of
    the environment are used. `tidy`: folders of deleted files are deleted too, once they are empty.

    Raises
    ------
    StorageError
        if the folder can't be created.

    """
    if not url.startswith("s3://"):
        folder = Path(url.removeprefix("file://"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The folder {folder} can't be created ({error}); configure a writable folder or an s3:// URL"
            ) from error
        return LocalStore(folder, automatic_cleanup=tidy)
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
