"""The stores in which the data of owners is."""

from dataclasses import dataclass

from api_gateway.deliveries.archive import Archive
from api_gateway.deliveries.queues import Queues
from parlando.blobs import Blobs
from parlando.store.annotations import Annotations
from parlando.store.history import History
from parlando.store.job_store import Jobs
from parlando.store.key_ring import KeyRing
from parlando.store.known_speakers import KnownSpeakers
from parlando.store.owner_data import OwnerData
from parlando.store.owner_limits import OwnerLimits
from parlando.store.retentions import Retentions
from parlando.store.uploads import Uploads
from parlando.store.usage import Usage


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that holds data of owners."""

    data: OwnerData
    history: History
    annotations: Annotations
    jobs: Jobs
    uploads: Uploads
    blobs: Blobs
    archive: Archive
    queues: Queues
    known_speakers: KnownSpeakers
    ring: KeyRing
    retentions: Retentions
    usage: Usage
    limits: OwnerLimits
