"""The gateway's settings."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from api_gateway.limit_settings import LimitSettings
from api_gateway.root_paths import root_of
from parlando.domain.languages import LanguageChoice
from parlando.public_addresses import is_loopback
from parlando.store.upload_keys import MAX_TTL_S

ALL_ADDRESSES: Final = "0.0.0.0"
Kind = Literal["transcriber", "audio-processor", "song-recognizer", "analyzer", "follower"]
"""A kind of worker."""

WYOMING: Final = "wyoming"
"""The name of the TCP door whose port is `WYOMING_PORT`."""


class GatewaySettings(LimitSettings):
    """Settings of a gateway: address, keys, limits, deliveries and the archive."""

    host: str = Field(
        "",
        description="Address to listen on; if empty 0.0.0.0 with `API_KEYS`, else 127.0.0.1. Without "
        "`API_KEYS` the gateway doesn't start at an address that other machines reach",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias=AliasChoices("api_keys", "api_key"),
        description="API keys of clients, separated by commas; without keys only this machine is served "
        "(also read as `API_KEY`)",
    )
    tls_cert: str = Field("", description="PEM file of a certificate chain, to serve HTTPS; with `TLS_KEY`")
    tls_key: str = Field("", description="PEM file of the certificate's private key")
    monitor_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1")),
        description="Addresses and networks, separated by commas, that read `/metrics` and the details of "
        "`/health` without a key with the scope `read`",
    )
    doors: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Additional live protocols, separated by commas: `package.module:name` of a door "
        "(docs/extending.md)",
    )
    tcp_doors: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="TCP doors to open, separated by commas: `name=port`"
    )
    wyoming_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="TCP port for the Wyoming protocol (Home Assistant), usually 10300; 0 for none. "
        "`make run` opens 10300 on this machine if it is free",
    )
    keyless_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1")),
        description="Addresses and networks, separated by commas, whose Wyoming clients are served: that "
        "protocol has no keys. Their sessions belong to the first of `API_KEYS`",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins whose pages may call the gateway, separated by commas"
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (IPv4Network("127.0.0.1"), IPv6Network("::1")),
        validation_alias=AliasChoices("trusted_proxies", "forwarded_allow_ips"),
        description="Addresses and networks of reverse proxies, separated by commas, whose "
        "`X-Forwarded-For`, `X-Forwarded-Proto` and `X-Ingress-Path` are trusted (also read as "
        "`FORWARDED_ALLOW_IPS`)",
    )
    root_path: str = Field(
        "",
        description="Path below which a reverse proxy publishes the gateway, such as `/parlando`, whether or "
        "not the proxy strips it",
    )
    ready_needs: Annotated[tuple[Kind, ...], NoDecode] = Field(
        ("transcriber", "audio-processor"),
        description="Kinds of workers, separated by commas, of which one must be alive for `/ready` to "
        "answer 200: `transcriber`, `audio-processor`, `song-recognizer`, `analyzer`, `follower`; `none` if "
        "Redis is enough. `make run` needs what it starts",
    )
    max_connections: int = Field(
        16_384, ge=64, description="Open connections; fewer if the limit of open files is lower"
    )
    max_connections_per_address: int = Field(
        256, ge=1, description="Open connections from one address (IPv6: from one /64 network)"
    )
    head_timeout_s: float = Field(
        10, gt=0, le=600, description="Seconds within which the head of a request or handshake must arrive"
    )
    body_timeout_s: float = Field(
        60, gt=0, le=3600, description="Seconds without a byte after which a request's body times out"
    )
    keep_alive_s: int = Field(
        75,
        ge=1,
        le=3600,
        description="Seconds that an idle HTTP connection is kept open; must be longer than clients and "
        "proxies keep theirs (5 to 60), else they may send a request into a connection that is being closed",
    )
    buffer_max_s: float = Field(
        60,
        le=600,
        validation_alias=AliasChoices("buffer_max_s", "buffer_max_duration_s"),
        description="Seconds of a session's audio that may wait in Redis, at least 40 "
        "(also read as `BUFFER_MAX_DURATION_S`)",
    )
    idle_timeout_s: float = Field(
        300, gt=0, description="Seconds without a message after which a live connection is closed (4408)"
    )
    stall_flush_s: float = Field(
        2, gt=0, description="Seconds without audio after which the open segment is settled"
    )
    ping_s: float = Field(
        20,
        gt=0,
        description="Seconds between pings of a WebSocket. A client that sends nothing for as long after a "
        "ping is disconnected, unless the gateway has stopped reading from it (`throttled`)",
    )
    ack_interval_ms: int = Field(
        250, ge=20, description="Shortest interval between two `ack` messages, in milliseconds"
    )
    max_message_kb: int = Field(16384, ge=64, description="Largest message of a live connection, in KB")
    job_ttl_s: int = Field(86_400, ge=60, description="Seconds that a job is kept after its end")
    audit_days: int = Field(
        365, ge=1, le=3650, description="Days that an entry of the audit log is kept (docs/security.md)"
    )
    audit_entries: int = Field(
        200_000,
        ge=1000,
        description="Largest number of entries of the audit log, about 400 bytes each in Redis; beyond it "
        "the oldest ones are dropped",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days that sessions, jobs, archived transcripts and deliveries are kept at most, unless "
        "an administrator or their owner sets others (docs/security.md); 0 for as long as other settings "
        "keep them",
    )
    audio_retention_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="The same for uploads, and the files of jobs that haven't ended",
    )
    max_jobs_waiting: int = Field(
        10_000, ge=1, description="Largest number of waiting jobs; more are refused"
    )
    max_uploads: int = Field(1000, ge=1, description="Largest number of unfinished resumable uploads")
    max_uploads_per_key: int = Field(
        100, ge=1, description="Largest number of unfinished resumable uploads of one owner"
    )
    upload_ttl_s: int = Field(
        86_400,
        ge=60,
        le=MAX_TTL_S,
        description="Seconds after its last byte that an unfinished resumable upload is kept",
    )
    share_reclaim_s: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="If live sessions take all places: seconds after which an owner below its fair "
        "share gets places that others hold beyond theirs; the latest sessions end with `at_capacity`, and "
        "what they sent is transcribed. 0: it gets only places that become free",
    )
    place_wait_s: float = Field(
        3.0,
        ge=0,
        le=8,
        description="If live sessions take all places: seconds that another session waits for one before it "
        "is refused; meanwhile its audio waits in the connection. 0: it is refused at once",
    )
    callback_secret: str = Field(
        "",
        description="Secret that signs requests to `callback_url`; if empty, the job's API key",
    )
    delivery_slots: int = Field(
        16,
        ge=4,
        le=256,
        description="Concurrent deliveries of one kind (archive, webhook, callbacks) per gateway; "
        "one owner may use half of them, one host or user a quarter",
    )
    dead_letter_ttl_s: int = Field(
        604_800, ge=60, description="Seconds that a dead letter is kept, to be retried by hand"
    )
    max_dead_letters: int = Field(
        10_000, ge=1, description="Largest number of dead letters of one kind, per partition"
    )
    model_aliases: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "whisper-1",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
            "gpt-transcribe",
            "gpt-live-transcribe",
            "gpt-realtime-whisper",
            "omniASR_CTC_300M_v2",
            "omniASR_CTC_1B_v2",
        ),
        description="Model names of OpenAI's API that stand for the default model, separated by commas; `*` "
        "for every name that isn't a running engine's",
    )
    model_card: str = Field(
        "",
        description="omniASR-server's name of its model: one more name like those in `MODEL_ALIASES`. It "
        "selects no model, as `STT_ENGINE` and `WHISPER_MODEL` do",
    )
    chunk_duration: float | None = Field(
        None, description="omniASR-server's setting. It has no effect, which the log says"
    )
    vad_enabled: bool = Field(
        True, description="omniASR-server's setting. `false` has no effect, which the log says"
    )
    default_language: LanguageChoice = Field(
        None,
        validation_alias=AliasChoices("default_language", "default_lang"),
        description="Language of sessions and jobs that state none, not even `auto`; if empty, it is "
        "detected (also read as `DEFAULT_LANG`)",
    )
    price_per_hour_usd: float = Field(
        0.0, ge=0, description="Cost of an hour of audio in US dollars, for `/v1/usage` and `/stats`"
    )
    usage_days: int = Field(
        400, ge=32, le=3650, description="Days for which the usage of each day is kept, for `/v1/usage`"
    )
    omi_mode: Literal["live", "batch"] = Field(
        "live", description="`batch` collects Omi's audio for a paid engine (see `BATCH_DURATION_SECONDS`)"
    )
    omi_idle_s: float = Field(
        120, gt=0, description="Seconds without audio after which an Omi user's session is closed"
    )
    omi_buffer_max_s: float = Field(
        1200, ge=60, description="Seconds of an Omi user's audio that may wait in Redis"
    )
    omi_max_body_mb: int = Field(
        32, ge=1, description="Largest body of the Omi webhook and of `/inference`, in MB"
    )
    omi_signature: Literal["off", "optional", "required"] = Field(
        "off", description="Whether `X-Omi-Signature` is checked: never, only if present, or always"
    )
    omi_signature_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Webhook secrets of Omi (`whsec_…`), separated by commas; `uid=whsec_…` for one user"
    )
    omi_transcript_webhook: str = Field("", description="URL to which every final is posted in Omi's format")
    omi_transcript_webhook_secret: str = Field(
        "", description="Secret that signs requests to `OMI_TRANSCRIPT_WEBHOOK`"
    )
    omi_webhook_allow_private: bool = Field(
        False, description="Whether `OMI_TRANSCRIPT_WEBHOOK` may be in a private network or on this machine"
    )
    omi_write_back: bool = Field(
        False, description="Send transcripts to Omi (which also transcribes the same audio itself)"
    )
    omi_dev_api_key: str = Field("", description="Omi developer key for `OMI_WRITE_BACK`")
    omi_songs: bool = Field(
        False, description="Recognise songs in the audio that the Omi webhook receives (docs/songs.md)"
    )
    omi_diarize: bool = Field(
        False, description="Label the speakers in the audio that the Omi webhook receives (docs/speakers.md)"
    )
    omi_app_id: str = Field("", description="Omi app whose notifications say which song is played")
    omi_app_key: str = Field("", description="Key of that app (`sk_…`); empty for no notifications")
    song_webhook: str = Field("", description="URL to which every recognised song is posted as JSON")
    song_webhook_secret: str = Field("", description="Secret that signs requests to `SONG_WEBHOOK`")
    song_timeout_s: float = Field(
        120, gt=0, description="Seconds within which a song must be registered, or recognised in a file"
    )
    omi_api_base: str = Field("https://api.omi.me", description="Base URL of Omi's API")
    twilio_auth_token: str = Field(
        "", description="Auth token of a Twilio account: its requests must then have a valid signature"
    )
    archive_url: str = Field(
        "",
        description="Archive of users' transcripts: a folder, or `s3://bucket/prefix`; "
        "empty for `~/.local/share/parlando/archive`, or for R2 if `R2_ACCOUNT_ID` is set",
    )
    archive_endpoint: str = Field(
        "", description="URL of an S3-compatible service other than Amazon's (MinIO …)"
    )
    archive_region: str = Field("auto", description="Region of the archive's bucket")
    archive_access_key_id: str = Field(
        "",
        validation_alias=AliasChoices("archive_access_key_id", "r2_access_key_id"),
        description="Access key of the archive's bucket (also read as `R2_ACCESS_KEY_ID`)",
    )
    archive_secret_access_key: str = Field(
        "",
        validation_alias=AliasChoices("archive_secret_access_key", "r2_secret_access_key"),
        description="Secret key of the archive's bucket (also read as `R2_SECRET_ACCESS_KEY`)",
    )
    r2_account_id: str = Field("", description="Cloudflare account, if the archive is in R2")
    r2_bucket: str = Field("omi-transcripts", description="Bucket in R2")

    @field_validator("buffer_max_s")
    @classmethod
    def _room_for_a_segment(cls, value: float) -> float:
        """A segment may last 28 s and needs 8 s before it. A smaller buffer would block the session."""
        return max(value, 40.0)

    @field_validator(
        "api_keys",
        "doors",
        "tcp_doors",
        "cors_origins",
        "trusted_proxies",
        "keyless_networks",
        "monitor_networks",
        "omi_signature_secrets",
        "model_aliases",
        "ready_needs",
        mode="before",
    )
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    # Defined after `_listed`, and so called before it.
    @field_validator("ready_needs", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return () if isinstance(value, str) and value.strip() == "none" else value

    @field_validator("root_path")
    @classmethod
    def _root(cls, value: str) -> str:
        root = root_of(value)
        if root is None:
            raise ValueError(f"expected a path such as /parlando, got {value[:40]!r}")
        return root

    @field_validator("tcp_doors")
    @classmethod
    def _ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for named in value:
            name, _, port = named.partition("=")
            if not (name and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(f"expected name=port with a port from 1 to 65535, got {named[:40]!r}")
        return value

    @property
    def tcp_ports(self) -> dict[str, int]:
        """The port of each TCP door, by name."""
        named = {name: int(port) for name, _, port in (named.partition("=") for named in self.tcp_doors)}
        return {WYOMING: self.wyoming_port, **named} if self.wyoming_port else named

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that stand for any running engine."""
        return (*self.model_aliases, self.model_card) if self.model_card else self.model_aliases

    @property
    def keyless_host(self) -> str:
        """The address on which protocols without keys listen: this machine only if no other is admitted."""
        local = all(network.is_loopback for network in self.keyless_networks)
        return "127.0.0.1" if local else self.host or ALL_ADDRESSES

    @property
    def listen_host(self) -> str:
        """The address to listen on: without keys, this machine only."""
        return self.host or (ALL_ADDRESSES if self.api_keys else "127.0.0.1")

    @property
    def problem(self) -> str:
        """Why a gateway with these settings must not start; "" if it may."""
        if not self.api_keys and self.host and not is_loopback(self.host):
            return (
                f"HOST={self.host} is reached by other machines, but no API_KEYS are configured. "
                "Set API_KEYS, for example to the output of `openssl rand -hex 24`; or set HOST=127.0.0.1 to "
                "serve this machine"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            return "TLS needs both TLS_CERT and TLS_KEY, but only one of them is set"
        return ""
