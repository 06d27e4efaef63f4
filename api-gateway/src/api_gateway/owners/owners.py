"""Owners: their data, and how long it is kept."""

from api_gateway.owners.deletion import Deletion
from api_gateway.owners.expiry import Expiry
from api_gateway.owners.export import Export
from api_gateway.owners.inventory import Inventory
from api_gateway.owners.parts import Parts
from api_gateway.settings import GatewaySettings
from parlando.domain.retention import Retention
from parlando.ids import fingerprint


class Owners:
    """What routes need of owners. `worker`: this gateway."""

    def __init__(self, parts: Parts, settings: GatewaySettings, *, worker: str) -> None:
        self.default = Retention(
            transcript_days=settings.retention_days or None,
            audio_days=settings.audio_retention_days or None,
        )
        self.configured = tuple(fingerprint(key)[:16] for key in settings.api_keys) or ("",)
        self.retentions = parts.retentions
        self.inventory = Inventory(parts)
        self.deletion = Deletion(parts)
        self.export = Export(parts)
        self.expiry = Expiry(parts, self.default, worker=worker)
        self._ring = parts.ring

    async def names(self) -> dict[str, str]:
        """The names of owners that have one, by the first 16 digits of their fingerprint."""
        keys = (await self._ring.keys.all()).values()
        return {key.owner[:16]: key.owner_name for key in keys if key.owner_name}
