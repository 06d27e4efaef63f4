"""Settings are read from the environment as the documentation writes them."""

import pytest

from api_gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("none", ()),
        (" none ", ()),
        ("transcriber", ("transcriber",)),
        ("transcriber, follower", ("transcriber", "follower")),
    ],
)
def test_what_readiness_needs_is_a_list_or_none(monkeypatch, value, expected):
    monkeypatch.setenv("READY_NEEDS", value)
    assert GatewaySettings().ready_needs == expected
