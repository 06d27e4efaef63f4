"""Access tokens: what they stand for, and what they don't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.access_tokens import MAX_CLAIMS, Grant, is_access_token, signed, verified
from parlando.errors import InvalidRequestError, NotAllowedError

SECRET = b"s" * 32
KEYS = ("alpha", "beta")


def token_of(key: str = "beta", *, secret: bytes = SECRET, prefix: str = "ek_", expires: int = 100, **claims):
    return signed(secret, Grant(key, expires, claims), prefix=prefix)


@given(key=st.sampled_from(KEYS), prefix=st.from_regex(r"\A[a-z]{2,8}_\Z"), claim=st.text(max_size=50))
def test_a_token_stands_for_the_key_it_was_issued_with(key, prefix, claim):
    token = token_of(key, prefix=prefix, session=claim)
    assert token.startswith(prefix)
    assert is_access_token(token)
    assert verified(SECRET, token, keys=KEYS, now=99.9) == Grant(key, 100, {"session": claim})


def test_it_reveals_neither_the_key_nor_its_hash():
    assert (
        token_of(key="alpha").partition(".")[0] != token_of(secret=b"t" * 32, key="alpha").partition(".")[0]
    )


@pytest.mark.parametrize(
    ("token", "keys", "now", "says"),
    [
        (token_of(), KEYS, 100, "expired"),
        (token_of(), ("alpha",), 1, "no longer valid"),
        (token_of(key=""), KEYS, 1, "no longer valid"),
        (token_of(secret=b"t" * 32), KEYS, 1, "of this cluster"),
        (token_of().replace("ek_", "dg_", 1), KEYS, 1, "of this cluster"),
        ("beta", KEYS, 1, "of this cluster"),
        ("", KEYS, 1, "of this cluster"),
    ],
)
def test_it_stands_for_nothing_else(token, keys, now, says):
    with pytest.raises(NotAllowedError, match=says):
        verified(SECRET, token, keys=keys, now=now)


@given(at=st.integers(min_value=0), other=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0123456789-_"))
def test_no_character_of_it_can_be_changed(at, other):
    token = token_of(session={"language": "en"})
    at %= len(token)
    if token[at] == other or at == len(token) - 1:  # the last character has unused bits, but compares as text
        return
    with pytest.raises(NotAllowedError):
        verified(SECRET, token[:at] + other + token[at + 1 :], keys=KEYS, now=1)


def test_claims_are_limited():
    with pytest.raises(InvalidRequestError, match=f"at most {MAX_CLAIMS} bytes"):
        token_of(prompt="x" * MAX_CLAIMS)
