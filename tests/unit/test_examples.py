"""The examples in the documents: commands, options, routes, fields and names in them exist.

tests/e2e/test_examples.py runs those that need a cluster; the JavaScript ones are run by test_javascript.
"""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import tomllib
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer
import yaml

from api_gateway.app import create_app
from api_gateway.doors.table import DOORS, WebSocketDoor
from api_gateway.permissions import ROUTES
from api_gateway.settings import GatewaySettings
from audio_processor.app import create_app as processor_app
from audio_processor.settings import ProcessorSettings
from parlando.cli.app import app as command_line
from parlando.client import ClientSession
from support.examples import DOCUMENTS, blocks, commands, plain
from support.settings_doc import ROOT, SECTIONS

OTHERS = {
    "cp",
    "export",
    "stat",
    "tr",
    "awk",
    "ffmpeg",
    "ct2-transformers-converter",
    "mkdir",
    "tar",
    "redis-cli",
    "redis-server",
}
"""Programs that aren't ours, whose options aren't checked."""
SHELL = [pytest.param(block, id=block.id) for block in blocks("sh")]
PYTHON = [pytest.param(block, id=block.id) for block in blocks("python")]


def found_commands(*programs: str) -> list[list[str]]:
    return [
        words
        for block in blocks("sh")
        for words in commands(block.text)
        if words[0].removeprefix(".venv/bin/") in programs
    ]


@pytest.mark.parametrize("block", SHELL)
def test_the_shell_understands_it_and_every_program_is_known(block):
    done = subprocess.run(
        ["bash", "-n"], input=plain(block.text), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    checked = {"make", "parlando", "curl", "docker", "helm", "pip", "python"}
    assert {words[0].removeprefix(".venv/bin/") for words in commands(block.text)} <= checked | OTHERS


# --- parlando ---------------------------------------------------------------------------------------


def parse(words: list[str]) -> None:
    """Have the real command line parse a command completely, without running it."""
    command, name = typer.main.get_command(command_line), "parlando"
    while True:
        context = command.make_context(name, list(words))
        if not hasattr(command, "resolve_command"):
            return
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


def test_every_command_line_of_parlando_is_accepted(tmp_path, monkeypatch):
    found = found_commands("parlando")
    assert len(found) > 15
    monkeypatch.chdir(tmp_path)
    for words in found:
        for name in words:
            if re.fullmatch(r"\w+\.(wav|m4a|flac)", name):
                Path(name).touch()  # some arguments are files that exist
        parse([word.replace("~/Music", ".") for word in words[1:]])


def test_a_wrong_command_line_is_not_accepted():
    for wrong in (["transcribe", "a.wav", "--speeker"], ["keys", "make", "x"], ["songs", "remove", "x"]):
        with pytest.raises(Exception, match=r"No such|valid integer"):
            parse(wrong)


def test_every_command_in_the_text_exists_with_its_options():
    found = {
        text
        for document in DOCUMENTS
        for text in re.findall(r"`parlando ([^`…]+)`", document.read_text().replace("\\|", "|"))
    }
    assert len(found) > 20
    for text in found:
        command, words = typer.main.get_command(command_line), text.split()
        while hasattr(command, "commands") and words:
            names = words.pop(0).split("|")
            assert set(names) <= command.commands.keys(), text
            command = command.commands[names[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, text


# --- HTTP -------------------------------------------------------------------------------------------


@cache
def descriptions() -> dict[str, dict]:
    """Port → OpenAPI description of the gateway and of the audio-processor."""
    gateway = create_app(GatewaySettings(api_keys=("k",)))
    return {"8000": gateway.openapi(), "8001": processor_app(ProcessorSettings(), None).openapi()}


def operation(method: str, path: str, port: str = "8000") -> dict | None:
    """The description of what answers a request; {} if it isn't described, None if there is no such route."""
    for template, methods in descriptions()[port]["paths"].items():
        if method.lower() in methods and _fits(template, path):
            return methods[method.lower()]
    if port != "8000":
        return None
    return {} if any(_fits(route.partition(" ")[2], path, method, route) for route in ROUTES) else None


def _fits(template: str, path: str, method: str = "", route: str = "") -> bool:
    if route and route.partition(" ")[0] != method:
        return False
    parts = re.split(r"\{[^}]*\}", template)
    return bool(re.fullmatch(r"[^/]+".join(map(re.escape, parts)), path))


def fields(found: dict) -> set[str]:
    """The names of a described operation's form or JSON fields."""
    schemas = descriptions()["8000"]["components"]["schemas"]
    names: set[str] = set()
    waiting = [each["schema"] for each in found.get("requestBody", {}).get("content", {}).values()]
    while waiting:
        schema = waiting.pop()
        if "$ref" in schema:
            waiting.append(schemas[schema["$ref"].rpartition("/")[2]])
        for name, each in schema.get("properties", {}).items():
            names |= {name, *re.findall(r"may also be called (\w+)", each.get("description", ""))}
        waiting += [part for kind in ("allOf", "anyOf", "oneOf") for part in schema.get(kind, ())]
    return names


WITH_VALUE = {"-X", "-H", "-F", "-d", "-o", "--data-binary"}
WITHOUT_VALUE = {"-N", "-s", "-i", "-si"}


def request(words: list[str]) -> tuple[str, str, str, dict[str, str], set[str]]:
    """Method, port, path, query and names of fields that a call of curl sends. Unknown options are errors."""
    method, urls, names = "", [], set()
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if word in WITH_VALUE:
            value = rest.pop(0)
            method = value if word == "-X" else method or ("" if word in ("-H", "-o") else "POST")
            if word == "-F":
                names.add(value.partition("=")[0])
            if word == "-d":
                names |= json.loads(value.replace("${at##*/}", "id")).keys()
        elif word not in WITHOUT_VALUE:
            assert not word.startswith("-"), f"the option {word} of curl isn't known here"
            urls.append(word)
    [url] = urls
    url = re.sub(r"\$at\b", "/v1/uploads/x", re.sub(r"\$ID\b", "x", url))
    parts = urlsplit(url if "://" in url else f"http://{url}")
    port = "8001" if parts.netloc.endswith(":8001") else "8000"
    return method or "GET", port, parts.path, dict(parse_qsl(parts.query)), names


def test_every_route_and_option_in_the_examples_exists():
    found = found_commands("curl")
    assert len(found) > 15
    for words in found:
        method, port, path, query, names = request(words)
        described = operation(method, path, port)
        assert described is not None, f"{method} {path} doesn't exist: {words}"
        known = {each["name"] for each in described.get("parameters", ()) if each["in"] == "query"}
        assert not known or query.keys() <= known, words
        assert not fields(described) or names <= fields(described), words


def test_most_fields_of_the_examples_are_compared():
    described = [
        (names, fields(operation(method, path, port) or {}))
        for method, port, path, _, names in map(request, found_commands("curl"))
        if names
    ]
    assert sum(bool(known) for _, known in described) > len(described) / 2


def test_every_route_that_a_document_names_exists():
    doors = {path for door in DOORS if isinstance(door, WebSocketDoor) for path in door.paths}
    missing = []
    for document in DOCUMENTS:
        named = re.findall(r"`(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|WS) (/[^`? ]*)", document.read_text())
        for method, path in named:
            template = re.sub(r"\{[^}]*\}", "x", path)
            if method == "WS":
                known = any(_fits(door, template) for door in doors)
            else:
                # `GET`, `DELETE /songs` in a list means `GET /songs` and `DELETE /songs/{number}`.
                paths = [(each, port) for each in (template, f"{template}/x") for port in ("8000", "8001")]
                known = any(operation(method, each, port) is not None for each, port in paths)
            if not known:
                missing.append(f"{document.name}: {method} {path}")
    assert missing == []


# --- other programs ---------------------------------------------------------------------------------


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in found_commands("make") if len(words) > 1 and "=" not in words[1]}
    named |= {
        target
        for document in DOCUMENTS
        for target in re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)`", document.read_text())
    }
    assert len(named) > 8
    assert named <= targets


def test_every_setting_in_front_of_a_command_exists():
    known = {name.upper() for _, settings in SECTIONS for name in settings.model_fields}
    named = {
        name
        for document in DOCUMENTS
        for line in re.findall(r"(?:^|`)((?:[A-Z_]+=\S+ )+)make run", document.read_text(), re.MULTILINE)
        for name in re.findall(r"([A-Z_]+)=", line)
    }
    assert len(named) > 3
    assert named <= known


def test_what_compose_is_asked_for_exists():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    profiles = {profile for service in compose.values() for profile in service.get("profiles", ())}
    for document in DOCUMENTS:
        text = document.read_text()
        assert set(re.findall(r"--scale ([a-z-]+)=", text)) <= compose.keys(), document
        named = re.findall(r"COMPOSE_PROFILES=([a-z,-]+)", text)
        assert {name for each in named for name in each.split(",")} <= profiles, document


def test_every_value_that_helm_is_given_exists():
    values = yaml.safe_load((ROOT / "deploy/helm/parlando/values.yaml").read_text())
    calls = found_commands("helm")
    assert calls
    for words in calls:
        assert words[1] in ("install", "upgrade")
        for before, given in pairwise(words):
            if before == "--set":
                inside = values
                for part in given.partition("=")[0].split("."):
                    assert part in inside, given
                    inside = inside[part]


def test_every_extra_that_pip_is_given_exists():
    for words in found_commands("pip"):
        for name, extras in re.findall(r"([./a-z-]+)\[([a-z,-]+)\]", " ".join(words)):
            distribution = {"parlando": "shared"}.get(name, name.removeprefix("./"))
            project = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())["project"]
            assert set(extras.split(",")) <= project["optional-dependencies"].keys(), words


def test_every_script_and_module_that_python_is_given_exists():
    named = {
        module
        for document in DOCUMENTS
        for module in re.findall(r"python -m ([a-z_.]+)", document.read_text())
    }
    folders = [ROOT / "tests", *ROOT.glob("*/src")]
    for module in named:
        path = module.replace(".", "/")
        assert any((folder / f"{path}.py").exists() or (folder / path).is_dir() for folder in folders), module
    for words in found_commands("python"):
        assert words[1] == "-m" or (ROOT / words[1]).is_file(), words


# --- Python, JavaScript, JSON -----------------------------------------------------------------------


@pytest.mark.parametrize("block", PYTHON)
def test_python_compiles_and_its_names_exist(block):
    tree = compile(
        block.text,
        block.id,
        "exec",
        flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    compile(tree, block.id, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and find_spec(node.module.partition(".")[0]):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
                names[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if find_spec(alias.name.partition(".")[0]):
                    names[alias.asname or alias.name] = importlib.import_module(alias.name)
    names |= _instances(tree, names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            owner = names[node.value.id]
            assert hasattr(owner, node.attr), f"{node.value.id} has no {node.attr}"
        if isinstance(node, ast.Call):
            _check_keywords(node, names)


def _instances(tree: ast.AST, names: dict[str, object]) -> dict[str, object]:
    """Names that a `with` or an assignment binds to objects of imported classes, and their classes."""
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node, ast.With | ast.AsyncWith):
            pairs = [(item.optional_vars, item.context_expr) for item in node.items]
        elif isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
        for target, value in pairs:
            if (
                isinstance(target, ast.Name)
                and isinstance(value, ast.Call)
                and isinstance(value.func, ast.Name)
            ):
                made = names.get(value.func.id)
                if inspect.isclass(made):
                    found[target.id] = made
                elif value.func.id == "connect" and made is not None:
                    found[target.id] = ClientSession
    return found


def _check_keywords(call: ast.Call, names: dict[str, object]) -> None:
    """The keywords of a call of something imported are parameters of it."""
    function = call.func
    called = names.get(function.id) if isinstance(function, ast.Name) else None
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        called = getattr(names.get(function.value.id), function.attr, None)
    try:
        parameters = inspect.signature(called).parameters if callable(called) else None
    except ValueError:
        return
    if parameters is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    assert {each.arg for each in call.keywords} <= parameters.keys(), ast.unparse(call)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_javascript_parses(tmp_path):
    found = blocks("js")
    assert found
    for number, block in enumerate(found):
        file = tmp_path / f"{number}.mjs"
        file.write_text(block.text)
        done = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.id}: {done.stderr}"


def test_json_is_json():
    found = blocks("json")
    assert found
    for block in found:
        text = block.text.replace("[…]", "[]").replace("{…}", "{}")
        try:
            json.loads(text)
        except ValueError:
            for line in text.splitlines():  # one document in each line
                json.loads(line)
