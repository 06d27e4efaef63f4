"""The settings of limits: those of owners without limits of their own."""

from pydantic import Field

from parlando.blobs import BlobSettings
from parlando.domain.limits import HIGHEST, LONGEST_WINDOW, Limits


class LimitSettings(BlobSettings):
    """Limits of each owner; 0 for none. `PUT /v1/owners/{owner}/limits` sets others for one owner."""

    limit_sessions: int = Field(
        0, ge=0, le=HIGHEST, description="Live sessions that an owner may have open at once; 0 for no limit"
    )
    limit_requests_minute: int = Field(
        0,
        ge=0,
        le=LONGEST_WINDOW,
        description="Requests that begin work, and live connections, of an owner a minute; 0 for no limit",
    )
    limit_audio_seconds_day: int = Field(
        0, ge=0, le=HIGHEST, description="Seconds of audio of an owner a day (UTC); 0 for no limit"
    )
    limit_audio_seconds_month: int = Field(
        0, ge=0, le=HIGHEST, description="Seconds of audio of an owner a month (UTC); 0 for no limit"
    )
    limit_upload_mb: int = Field(
        0,
        ge=0,
        le=HIGHEST,
        description="Megabytes of a file that an owner uploads, at most `MAX_UPLOAD_MB`; 0 for that alone",
    )
    limit_jobs_waiting: int = Field(
        0, ge=0, le=HIGHEST, description="Jobs of an owner that may wait; 0 for no limit"
    )

    @property
    def limits(self) -> Limits:
        """The limits of an owner for whom none are set."""
        return Limits(
            sessions=self.limit_sessions,
            requests_minute=self.limit_requests_minute,
            audio_seconds_day=self.limit_audio_seconds_day,
            audio_seconds_month=self.limit_audio_seconds_month,
            upload_mb=self.limit_upload_mb,
            jobs_waiting=self.limit_jobs_waiting,
        )
