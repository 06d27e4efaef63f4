"""How many notices a user gets, with a real Redis."""

from parlando.store import notice_limits
from parlando.store.notice_limits import PER_HOUR, NoticeLimits

KEY = "a" * 64


async def test_at_most_nine_notices_an_hour_for_each_user(redis):
    limits = NoticeLimits(redis, partitions=2)
    admitted = [
        await limits.admit(KEY, "u", notice=f"n{each}", subject=str(each), lasts_s=60) for each in range(12)
    ]
    assert admitted == [True] * PER_HOUR + [False] * 3
    assert await limits.admit(KEY, "other", notice="n0", subject="0", lasts_s=60)
    assert await limits.admit("b" * 64, "u", notice="n0", subject="0", lasts_s=60)


async def test_a_further_attempt_is_admitted_again_and_counted_once(redis):
    limits = NoticeLimits(redis, partitions=1)
    for _ in range(20):
        assert await limits.admit(KEY, "u", notice="n", subject="1", lasts_s=60)
    assert await limits.admit(KEY, "u", notice="m", subject="2", lasts_s=60)


async def test_the_same_subject_is_not_repeated_while_it_lasts(redis, monkeypatch):
    limits = NoticeLimits(redis, partitions=1)
    assert await limits.admit(KEY, "u", notice="n", subject="1", lasts_s=3600)
    assert not await limits.admit(KEY, "u", notice="m", subject="1", lasts_s=3600)
    monkeypatch.setattr(notice_limits, "LEAST_S", 0)
    assert await limits.admit(KEY, "v", notice="n", subject="1", lasts_s=0)
    assert await limits.admit(KEY, "v", notice="m", subject="1", lasts_s=0)
