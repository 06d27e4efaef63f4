"""The settings that the checks read; each is one of a service (docs/settings.md)."""

from pydantic import AliasChoices, Field

from parlando.models.selection import ClusterEngines


class Configured(ClusterEngines):
    """None or "" where nothing is configured."""

    host: str | None = None
    port: int | None = None
    processor_port: int | None = None
    api_keys: str = Field("", validation_alias=AliasChoices("api_keys", "api_key"))
    tls_cert: str = ""
    blob_url: str = ""
    archive_url: str = ""

    @property
    def own_redis(self) -> bool:
        """Whether REDIS_URL names a Redis; otherwise `parlando up` starts one."""
        return "redis_url" in self.model_fields_set

    @property
    def keys(self) -> list[str]:
        """The API keys."""
        return [key.strip() for key in self.api_keys.split(",") if key.strip()]
