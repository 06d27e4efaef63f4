"""Settings common to all services. Each service adds its own in its `settings.py`.

Each field is read from the environment variable of the same name in capitals, or from a `.env` file.
"""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Redis, logs and session lifetimes."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis or Valkey, 6.2 or newer: `redis://host:6379/0`, `redis+sentinel://host,…/master`, "
        "`redis+cluster://host,…`; `rediss…` for TLS",
    )
    redis_durable: bool = Field(
        False,
        description="Whether the Redis of `make run` writes an append-only file in "
        "`~/.local/share/parlando/redis`: sessions, jobs and transcripts survive a crash of Redis, but live "
        "audio is written to disk",
    )
    partitions: int = Field(
        1, ge=1, le=1024, description="Hash-tag partitions of the keys; must be equal in all services"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum level of the log events written"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json`, `console`, or `auto`: console on a terminal"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="Address to which traces of live sessions are sent by OTLP over HTTP, for example "
        "`http://127.0.0.1:4318`; empty for none. Needs `pip install 'parlando[tracing]'`",
    )
    otel_traces_sampler_arg: float = Field(
        0.05, ge=0, le=1, description="Share of the live sessions that are traced"
    )
    session_ttl_s: int = Field(
        3600, ge=60, description="Seconds for which a session's events stay in Redis after its end"
    )
    resume_window_s: float = Field(
        60, gt=0, description="Seconds for which a session stays open without a client"
    )
