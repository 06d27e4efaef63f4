"""The models that the settings select: whether they are here, and unchanged."""

import hashlib
from collections.abc import Iterator

from parlando.cli import services
from parlando.cli.doctor.configured import Configured
from parlando.cli.doctor.finding import Finding, ok, problem
from parlando.errors import ModelError
from parlando.models.catalogue import Model
from parlando.models.store import ModelStore


def check(configured: Configured, store: ModelStore) -> Iterator[Finding]:
    """A finding for each model. Reads every file."""
    try:
        chosen = services.models(configured)
    except ModelError as error:
        yield problem("models", error.message, "correct ENGINES; parlando models list has the names")
        return
    for model in chosen:
        yield model_of(model, store)


def model_of(model: Model, store: ModelStore) -> Finding:
    """One model, by the size and the SHA-256 of its files."""
    pull = f"parlando models pull {model.name} (parlando up does so)"
    if not store.has(model):
        return problem("models", f"{model.name} isn't complete in {store.cache}", pull)
    damaged = []
    for file in model.files:
        path = store.folder(model) / file.name
        with path.open("rb") as stream:
            if file.sha256 not in (None, hashlib.file_digest(stream, "sha256").hexdigest()):
                damaged.append(str(path))
    if damaged:
        return problem(
            "models", f"{model.name} is damaged: {', '.join(damaged)}", f"delete these; then {pull}"
        )
    return ok("models", f"{model.name}, hashes as in the catalogue")
