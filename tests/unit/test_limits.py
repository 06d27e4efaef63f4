"""Limits: values, the routes that they count, and what clients of each service are told."""

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from api_gateway.doors.base import QuotaLow
from api_gateway.doors.native import Native
from api_gateway.doors.table import DOORS, WebSocketDoor
from api_gateway.handshake import Handshake
from api_gateway.http.rate_headers import headers_of
from api_gateway.limits.windows import Window
from api_gateway.permissions import ROUTES, begins_work
from api_gateway.presenters import deepgram
from api_gateway.presenters.error_mapping import event_of, mapping_of
from api_gateway.presenters.problem import openai_answer
from parlando.domain.access import Scope
from parlando.domain.events import Closed
from parlando.domain.limits import Limits, Quota, end_of_day, end_of_month
from parlando.errors import QuotaExceededError, RateLimitedError, TooManyJobsError, TooManySessionsError

WHAT = {"limit": "l", "of": "key", "retry_after_s": 7}


def test_limits_that_are_not_set_are_those_of_the_cluster():
    own = Limits(sessions=0, upload_mb=5)
    assert own.over(Limits(sessions=3, jobs_waiting=2)).set_ones == {
        "sessions": 0,
        "upload_mb": 5,
        "jobs_waiting": 2,
    }
    for wrong in ({"sessions": -1}, {"seats": 1}, {"requests_minute": 100_001}):
        with pytest.raises(ValidationError):
            Limits(**wrong)


def test_a_quota_warns_at_80_and_95_percent_and_ends_when_nothing_is_left():
    found = [Quota("audio_seconds_day", "key", 100, used) for used in (79.9, 80, 94.9, 95, 99.9, 100, 120)]
    assert [quota.warning for quota in found] == [0, 80, 80, 95, 95, 95, 95]
    assert [quota.exhausted for quota in found] == [False] * 5 + [True] * 2
    assert found[-1].remaining == 0


def test_days_and_months_end_at_midnight_utc():
    assert end_of_day(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert end_of_month(date(2026, 12, 5)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert end_of_month(date(2028, 2, 29)) == datetime(2028, 3, 1, tzinfo=UTC)


def test_reading_deleting_and_administration_are_never_counted():
    counted = {route for route in ROUTES if begins_work(route)}
    assert {route.split()[0] for route in counted} == {"POST"}
    assert all(ROUTES[route].needs not in (Scope.READ, Scope.ADMIN, "public") for route in counted)
    assert not counted & {"POST /streaming", "POST /omi/{key}/audio"}, "pieces of a running session"
    assert counted >= {"POST /v1/stt/jobs", "POST /v1/uploads", "POST /v1/listen", "POST /inference"}


def test_the_headers_show_the_window_with_the_fewest_requests_left():
    windows = [Window(60, 2, 130.0), Window(600, 1, 110.4)]
    assert headers_of(windows, openai=True, now=100.0) == {
        "RateLimit-Limit": "600",
        "RateLimit-Remaining": "1",
        "RateLimit-Reset": "10",
        "RateLimit-Policy": "60;w=60, 600;w=60",
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "10s",
    }


@pytest.mark.parametrize(
    ("kind", "close", "openai", "deepgram_code"),
    [
        (RateLimitedError, 1013, "rate_limit_exceeded", (429, "TOO_MANY_REQUESTS")),
        (TooManySessionsError, 1013, "rate_limit_exceeded", (429, "TOO_MANY_REQUESTS")),
        (TooManyJobsError, 1013, "rate_limit_exceeded", (429, "TOO_MANY_REQUESTS")),
        (QuotaExceededError, 1008, "insufficient_quota", (402, "ASR_PAYMENT_REQUIRED")),
    ],
)
def test_each_service_has_its_own_words_for_a_limit(kind, close, openai, deepgram_code):
    error = kind("no more", **WHAT)
    assert (mapping_of(error).status, mapping_of(error).close) == (429, close)
    body = event_of(error)
    assert {name: body[name] for name in ("code", "limit", "of", "retry_after")} == {
        "code": error.code,
        "limit": "l",
        "of": "key",
        "retry_after": 7,
    }
    answer = openai_answer(error)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert openai.encode() in answer.body
    assert (deepgram.status_of(error), deepgram.err_code(error)) == deepgram_code


def test_every_protocol_takes_the_notice_and_closes_with_its_own_code():
    quota = Quota("audio_seconds_day", "owner", 100, 81, end_of_day(date(2026, 11, 27)))
    closed = Closed(session_id="s", duration=1, segments=0, reason="quota_exceeded")
    handshake = Handshake("127.0.0.1", {}, {"encoding": "linear16", "sample_rate": "16000", "uid": "u"})
    for door in DOORS:
        if not isinstance(door, WebSocketDoor) or not hasattr(door.protocol, "notice"):
            continue
        protocol = door.protocol(handshake)
        protocol.notice(QuotaLow(quota, 80))
        code, _ = protocol.end_of(closed)
        assert code in (1008, 4002), door.name
    [text] = Native(handshake).notice(QuotaLow(quota, 80))
    assert '"status":"quota_low","ms":19000,"reason":"audio_seconds_day","of":"owner","percent":80' in text
