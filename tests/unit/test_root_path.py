"""The path below which a proxy publishes a gateway."""

import pytest

from api_gateway.root_paths import in_ingress, path_below, root_of
from api_gateway.server.root_path import RootPath
from api_gateway.settings import GatewaySettings

INGRESS = "/api/hassio_ingress/kQ3-_x"


async def scope_of(path: str, *, root: str = "", peer: str = "127.0.0.1", kind: str = "http", **headers: str):
    """The scope that the app gets."""
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope)

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "root_path": "", "headers": fields, "client": (peer, 1)}
    await RootPath(app, root=root, is_proxy=lambda address: address == "127.0.0.1")(scope, None, None)
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("path", ["/v1/stt/jobs", "/parlando/v1/stt/jobs"])
async def test_the_proxy_may_strip_the_path_or_not(kind, path):
    scope = await scope_of(path, root="/parlando", kind=kind)
    assert (scope["root_path"], scope["path"]) == ("/parlando", "/parlando/v1/stt/jobs")
    assert path_below(scope) == "/v1/stt/jobs"
    assert not in_ingress(scope)


async def test_a_longer_name_is_not_the_path():
    assert (await scope_of("/parlandone", root="/parlando"))["path"] == "/parlando/parlandone"


async def test_home_assistants_ingress_names_its_path_in_a_header():
    scope = await scope_of("/", root="/other", x_ingress_path=INGRESS)
    assert (scope["root_path"], scope["path"]) == (INGRESS, f"{INGRESS}/")
    assert in_ingress(scope)


async def test_the_header_of_a_stranger_is_ignored():
    scope = await scope_of("/", peer="192.0.2.1", x_ingress_path=INGRESS)
    assert (scope["root_path"], scope["path"]) == ("", "/")
    assert not in_ingress(scope)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "/",
        "//evil.example",
        "http://evil.example",
        "/a/../b",
        "/a b",
        '/"><script>',
        "/" + "a" * 300,
        "/a?b",
    ],
)
async def test_a_header_that_is_no_path_is_ignored(value):
    assert (await scope_of("/", x_ingress_path=value))["root_path"] == ""


def test_the_setting_is_a_path():
    assert root_of("/a/b/") == "/a/b"
    assert root_of("/") == ""
    assert GatewaySettings(root_path="/parlando/").root_path == "/parlando"
    for wrong in ("parlando", "//parlando", "/a b", "http://host/parlando"):
        with pytest.raises(ValueError, match="expected a path such as /parlando"):
            GatewaySettings(root_path=wrong)
