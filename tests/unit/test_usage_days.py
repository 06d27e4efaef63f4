"""Which days of a range are read for `GET /v1/usage`."""

from datetime import date, timedelta

from api_gateway.http.usage import with_counters
from parlando.store.usage import days_between
from parlando.store.usage_keys import today


def test_a_range_without_end_has_the_days_that_are_kept():
    days = days_between(*with_counters(date.min, date.max, kept_days=400))
    assert today() in days
    assert today() - timedelta(days=400) in days
    assert len(days) < 410


def test_a_range_is_read_as_it_is_asked_for_and_one_of_the_future_not_at_all():
    first, last = today() - timedelta(days=3), today() - timedelta(days=1)
    assert with_counters(first, last, kept_days=400) == (first, last)
    assert days_between(*with_counters(date(9998, 1, 1), date.max, kept_days=400)) == []
