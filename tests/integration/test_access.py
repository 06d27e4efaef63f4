"""Access tokens of a cluster: several gateways share the secret, and a lost Redis doesn't end the tokens."""

import time

import pytest

from api_gateway.access_tokens import Grant, signed
from api_gateway.auth import Access
from api_gateway.handshake import Handshake
from api_gateway.permissions import Rule
from api_gateway.settings import GatewaySettings
from parlando.domain.access import Scope
from parlando.errors import NotAllowedError
from parlando.ids import fingerprint
from parlando.store import token_secret
from parlando.store.api_keys import ApiKeys
from parlando.store.key_ring import KeyRing
from parlando.store.pubsub import Channels
from parlando.store.token_secret import TokenSecret

ANY = Rule("any")
LIVE = (Scope.LIVE,)
LOCAL = {"host": "localhost"}


def gateway(redis, *keys: str) -> Access:
    ring = KeyRing(ApiKeys(redis), Channels(redis))
    return Access(GatewaySettings(api_keys=keys), TokenSecret(redis), ring)


def sending(credential: str) -> Handshake:
    return Handshake(peer="127.0.0.1", headers={**LOCAL, "authorization": f"Bearer {credential}"})


async def test_a_token_of_one_gateway_is_accepted_by_another(redis):
    one, other = gateway(redis, "alpha", "beta"), gateway(redis, "beta")
    beta = await one.authenticate(sending("beta"), ANY)
    token, _ = await one.issue(beta, 60, scopes=LIVE, claims={"language": "en"})
    caller = await other.authenticate(sending(token), ANY)
    assert (caller.owner, caller.by_token, caller.claims) == (fingerprint("beta"), True, {"language": "en"})

    with pytest.raises(NotAllowedError, match="can't be used to make another"):
        await other.issue(caller, 60, scopes=LIVE)
    with pytest.raises(NotAllowedError, match="no longer valid"):
        await gateway(redis, "alpha").authenticate(sending(token), ANY)


async def test_a_token_survives_the_loss_of_redis(redis):
    one = gateway(redis, "alpha")
    token, _ = await one.issue(await one.authenticate(sending("alpha"), ANY), 60, scopes=LIVE)
    await redis.flushall()
    assert (await one.authenticate(sending(token), ANY)).owner == fingerprint("alpha"), (
        "the gateway knows the secret"
    )
    await one.issue(await one.authenticate(sending("alpha"), ANY), 60, scopes=LIVE)
    assert (await gateway(redis, "alpha").authenticate(sending(token), ANY)).owner == fingerprint("alpha"), (
        "and has stored it again"
    )


async def test_a_gateway_learns_a_new_secret(redis, monkeypatch):
    old = gateway(redis, "alpha")
    stale, _ = await old.issue(await old.authenticate(sending("alpha"), ANY), 60, scopes=LIVE)
    await redis.flushall()
    new = gateway(redis, "alpha")
    token, _ = await new.issue(await new.authenticate(sending("alpha"), ANY), 60, scopes=LIVE)
    monkeypatch.setattr(token_secret, "REREAD_S", 0.0)
    assert (await old.authenticate(sending(token), ANY)).owner == fingerprint("alpha")
    with pytest.raises(NotAllowedError):
        await new.authenticate(sending(stale), ANY)


async def test_without_keys_tokens_are_harmless(redis):
    open_gateway = gateway(redis)
    token, _ = await open_gateway.issue(
        await open_gateway.authenticate(sending("anything"), ANY), 60, scopes=LIVE
    )
    assert (await open_gateway.authenticate(sending(token), ANY)).by_token
    assert not (await open_gateway.authenticate(sending(f"ek_{'A' * 80}.{'A' * 43}"), ANY)).by_token
    with pytest.raises(NotAllowedError, match="no longer valid"):
        await gateway(redis, "alpha").authenticate(sending(token), ANY)


async def test_an_expired_token_is_refused(redis):
    one = gateway(redis, "alpha")
    token, _ = await one.issue(await one.authenticate(sending("alpha"), ANY), 0, scopes=LIVE)
    with pytest.raises(NotAllowedError, match="expired"):
        await one.authenticate(sending(token), ANY)


async def test_a_tokens_scope_of_a_newer_release_is_left_out(redis):
    one = gateway(redis, "alpha")
    grant = Grant(fingerprint("alpha"), int(time.time()) + 60, scopes=("live", "telepathy"))
    token = signed(await TokenSecret(redis).stored(), grant, prefix="at_")
    assert (await one.authenticate(sending(token), ANY)).scopes == {Scope.LIVE}
