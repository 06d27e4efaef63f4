"""The gateway's settings."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from parlando.blobs import BlobSettings


class GatewaySettings(BlobSettings):
    """Address, keys and limits of the front doors."""

    host: str = Field("0.0.0.0", description="Address to listen on; without keys always 127.0.0.1")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias=AliasChoices("api_keys", "api_key"),
        description="Keys that clients may use, separated by commas; none means loopback only "
        "(also read as `API_KEY`)",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins that may call from a browser, separated by commas"
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (IPv4Network("127.0.0.1"), IPv6Network("::1")),
        validation_alias=AliasChoices("trusted_proxies", "forwarded_allow_ips"),
        description="Addresses and networks of reverse proxies, separated by commas, whose "
        "`X-Forwarded-For` and `X-Forwarded-Proto` are believed (also read as `FORWARDED_ALLOW_IPS`)",
    )
    max_connections: int = Field(
        16_384, ge=64, description="Connections at a time; fewer if the limit of open files is lower"
    )
    max_connections_per_address: int = Field(
        256, ge=1, description="Connections at a time from one address (IPv6: from one /64 network)"
    )
    head_timeout_s: float = Field(
        10, gt=0, le=600, description="Seconds in which the head of a request or handshake must have come"
    )
    body_timeout_s: float = Field(
        60, gt=0, le=3600, description="Seconds without a byte after which a request's body is given up"
    )
    keep_alive_s: int = Field(
        75,
        ge=1,
        le=3600,
        description="Seconds that a connection without a request is kept open; longer than clients and "
        "proxies keep theirs (5 to 60), so that none sends a request into a connection that is being closed",
    )
    buffer_max_s: float = Field(
        60,
        le=600,
        validation_alias=AliasChoices("buffer_max_s", "buffer_max_duration_s"),
        description="Seconds of a session's audio that may wait in Redis, at least 40 "
        "(also read as `BUFFER_MAX_DURATION_S`)",
    )
    idle_timeout_s: float = Field(
        300, gt=0, description="A socket that says nothing that long is closed (4408)"
    )
    stall_flush_s: float = Field(
        2, gt=0, description="An open segment is settled when no audio has come for that long"
    )
    ping_s: float = Field(
        20,
        gt=0,
        description="Seconds between pings of a WebSocket; one that sends nothing for as long behind a ping "
        "is closed, unless the gateway itself doesn't read it (`throttled`)",
    )
    ack_interval_ms: int = Field(250, ge=20, description="At most one `ack` in that time")
    max_message_kb: int = Field(16384, ge=64, description="Largest WebSocket message taken")
    job_ttl_s: int = Field(86_400, ge=60, description="Seconds that a job is kept after its end")
    max_jobs_waiting: int = Field(10_000, ge=1, description="Jobs that may wait; more are refused")
    callback_secret: str = Field(
        "",
        description="Secret that signs what `callback_url` gets; empty for the API key that submitted it",
    )
    delivery_slots: int = Field(
        16,
        ge=4,
        le=256,
        description="Deliveries of a kind (archive, webhook, callbacks) that one gateway attempts at a time; "
        "a key may use half of them, a host or user a quarter",
    )
    dead_letter_ttl_s: int = Field(
        604_800, ge=60, description="Seconds that a delivery that was given up is kept, to be retried by hand"
    )
    max_dead_letters: int = Field(
        10_000, ge=1, description="Deliveries of a kind that were given up and are kept (per partition)"
    )
    model_aliases: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "whisper-1",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
            "omniASR_CTC_300M_v2",
            "omniASR_CTC_1B_v2",
        ),
        description="Model names of OpenAI's API that mean the engine that runs, separated by commas; "
        "`*` for any name",
    )
    price_per_hour_usd: float = Field(0.0, ge=0, description="What an hour of audio costs you, for `/stats`")
    omi_mode: Literal["live", "batch"] = Field(
        "live", description="`batch` collects Omi's audio for a paid engine (see `BATCH_DURATION_SECONDS`)"
    )
    omi_idle_s: float = Field(
        120, gt=0, description="An Omi user's session is closed after that long without audio"
    )
    omi_buffer_max_s: float = Field(
        1200, ge=60, description="Seconds of an Omi user's audio that may wait in Redis"
    )
    omi_max_body_mb: int = Field(32, ge=1, description="Largest body of the Omi webhook and of `/inference`")
    omi_signature: Literal["off", "optional", "required"] = Field(
        "off", description="Whether `X-Omi-Signature` is checked: never, where there is one, or always"
    )
    omi_signature_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Webhook secrets of Omi (`whsec_…`), separated by commas; `uid=whsec_…` for one user"
    )
    omi_transcript_webhook: str = Field("", description="URL that gets every final in Omi's shape")
    omi_transcript_webhook_secret: str = Field("", description="Secret that signs what it gets")
    omi_webhook_allow_private: bool = Field(
        False, description="Whether that URL may be of a private network or this machine"
    )
    omi_write_back: bool = Field(
        False, description="Write transcripts into Omi (which transcribes the same audio itself)"
    )
    omi_dev_api_key: str = Field("", description="Omi developer key for that")
    omi_api_base: str = Field("https://api.omi.me", description="Omi's API")
    archive_url: str = Field(
        "",
        description="Where transcripts of users go: a folder, or `s3://bucket/prefix`; "
        "empty for `~/.local/share/parlando/archive`, or for R2 if `R2_ACCOUNT_ID` is set",
    )
    archive_endpoint: str = Field("", description="URL of an S3 that isn't Amazon's (MinIO …)")
    archive_region: str = Field("auto", description="Region of the bucket")
    archive_access_key_id: str = Field(
        "",
        validation_alias=AliasChoices("archive_access_key_id", "r2_access_key_id"),
        description="Key of the bucket (also read as `R2_ACCESS_KEY_ID`)",
    )
    archive_secret_access_key: str = Field(
        "",
        validation_alias=AliasChoices("archive_secret_access_key", "r2_secret_access_key"),
        description="Its secret (also read as `R2_SECRET_ACCESS_KEY`)",
    )
    r2_account_id: str = Field("", description="Cloudflare account, for an archive in R2")
    r2_bucket: str = Field("omi-transcripts", description="Bucket of R2")

    @field_validator("buffer_max_s")
    @classmethod
    def _room_for_a_segment(cls, value: float) -> float:
        """A segment may last 28 s and needs 8 s before it; with less the session would wait for itself."""
        return max(value, 40.0)

    @field_validator(
        "api_keys",
        "cors_origins",
        "trusted_proxies",
        "omi_signature_secrets",
        "model_aliases",
        mode="before",
    )
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
