"""Clients that leave, in every way, leave nothing behind."""

from bench.leavers import cluster_of, leave


async def test_clients_that_leave_in_every_way_leave_nothing_behind():
    with cluster_of(RESUME_WINDOW_S="3") as cluster:
        left = await leave(cluster, 80, 8, expire=False)  # Redis' own check: every key expires
    assert left.clean, left
    assert left.refused == 0
