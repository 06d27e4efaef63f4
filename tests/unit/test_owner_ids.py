"""How paths and queries name owners."""

import pytest

from api_gateway.http.owner_ids import named_owner, prefix_of_named
from parlando.errors import InvalidRequestError

OWN = "0123456789abcdef"
OTHER = "f" * 64


@pytest.mark.parametrize(
    ("asked", "prefix"),
    [
        ("me", OWN),
        ("none", ""),
        (OTHER[:16], OTHER[:16]),
        (OTHER, OTHER[:16]),
        ("mobile team", named_owner("mobile team")[:16]),
        ("f" * 20, named_owner("f" * 20)[:16]),
    ],
)
def test_an_owner_is_named_by_its_digits_or_its_name(asked, prefix):
    assert prefix_of_named(asked, OWN) == prefix


@pytest.mark.parametrize("asked", [" ", "two\nlines"])
def test_what_is_no_name_is_refused(asked):
    with pytest.raises(InvalidRequestError, match="owner: expected"):
        prefix_of_named(asked, OWN)
