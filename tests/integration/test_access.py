"""Access tokens of a cluster: several gateways share the secret, and a lost Redis doesn't end the tokens."""

import pytest

from api_gateway.auth import Access
from api_gateway.handshake import Handshake
from api_gateway.settings import GatewaySettings
from parlando.errors import NotAllowedError
from parlando.store import token_secret
from parlando.store.token_secret import TokenSecret

LOCAL = {"host": "localhost"}


def gateway(redis, *keys: str) -> Access:
    return Access(GatewaySettings(api_keys=keys), TokenSecret(redis))


def sending(credential: str) -> Handshake:
    return Handshake(peer="127.0.0.1", headers={**LOCAL, "authorization": f"Bearer {credential}"})


async def test_a_token_of_one_gateway_is_accepted_by_another(redis):
    one, other = gateway(redis, "alpha", "beta"), gateway(redis, "beta")
    beta = await one.authenticate(sending("beta"))
    token, _ = await one.issue(beta, 60, claims={"language": "en"})
    caller = await other.authenticate(sending(token))
    assert (caller.key, caller.by_token, caller.claims) == ("beta", True, {"language": "en"})

    with pytest.raises(NotAllowedError, match="can't be used to make another"):
        await other.issue(caller, 60)
    with pytest.raises(NotAllowedError, match="no longer valid"):
        await gateway(redis, "alpha").authenticate(sending(token))


async def test_a_token_survives_the_loss_of_redis(redis):
    one = gateway(redis, "alpha")
    token, _ = await one.issue(await one.authenticate(sending("alpha")), 60)
    await redis.flushall()
    assert (await one.authenticate(sending(token))).key == "alpha", "the gateway knows the secret"
    await one.issue(await one.authenticate(sending("alpha")), 60)
    assert (await gateway(redis, "alpha").authenticate(sending(token))).key == "alpha", (
        "and has stored it again"
    )


async def test_a_gateway_learns_a_new_secret(redis, monkeypatch):
    old = gateway(redis, "alpha")
    stale, _ = await old.issue(await old.authenticate(sending("alpha")), 60)
    await redis.flushall()
    new = gateway(redis, "alpha")
    token, _ = await new.issue(await new.authenticate(sending("alpha")), 60)
    monkeypatch.setattr(token_secret, "REREAD_S", 0.0)
    assert (await old.authenticate(sending(token))).key == "alpha"
    with pytest.raises(NotAllowedError):
        await new.authenticate(sending(stale))


async def test_without_keys_tokens_are_harmless(redis):
    open_gateway = gateway(redis)
    token, _ = await open_gateway.issue(await open_gateway.authenticate(sending("anything")), 60)
    assert (await open_gateway.authenticate(sending(token))).by_token
    assert not (await open_gateway.authenticate(sending(f"ek_{'A' * 80}.{'A' * 43}"))).by_token
    with pytest.raises(NotAllowedError, match="no longer valid"):
        await gateway(redis, "alpha").authenticate(sending(token))


async def test_an_expired_token_is_refused(redis):
    one = gateway(redis, "alpha")
    token, _ = await one.issue(await one.authenticate(sending("alpha")), 0)
    with pytest.raises(NotAllowedError, match="expired"):
        await one.authenticate(sending(token))
