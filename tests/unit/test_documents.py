"""The generated documents match the code; the README links the documents; modules stay short."""

import ast
import re
import subprocess
from collections import defaultdict
from functools import cache

import pytest

from support.settings_doc import ENV_EXAMPLE, PAGE, ROOT, env_example, page


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def test_the_settings_tables_are_those_of_the_settings():
    assert PAGE.read_text() == page(), "run `make fix`"
    assert ENV_EXAMPLE.read_text() == env_example(), "run `make fix`"


def test_no_source_file_has_more_than_400_lines():
    long = {
        name: lines
        for name in _tracked("*/src/*.py", "*/src/*.css", "*/src/*.js", "clients/js/*.js")
        if (lines := len((ROOT / name).read_text().splitlines())) > 400
    }
    assert long == {}


@pytest.mark.parametrize(
    "name",
    [
        "architecture.md",
        "protocols.md",
        "operations.md",
        "omi.md",
        "songs.md",
        "speakers.md",
        "analysis.md",
        "quickstart.md",
        "browser.md",
        "performance.md",
        "benchmarks.md",
        "capacity.md",
        "glossary.md",
        "formats.md",
        "settings.md",
        "extending.md",
    ],
)
def test_the_documents_that_the_readme_names_are_there(name):
    assert f"docs/{name}" in (ROOT / "README.md").read_text()
    assert (ROOT / "docs" / name).stat().st_size > 500


@cache
def _names() -> tuple[dict[str, set[str]], dict[str, set[str]], set[str]]:
    """Of all sources: class → its attributes, class → its base classes, and the names of all functions."""
    attributes, bases, functions = defaultdict(set), defaultdict(set), set()
    for path in ROOT.glob("*/src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.add(node.name)
            if isinstance(node, ast.ClassDef):
                bases[node.name] |= {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
                inside = list(ast.walk(node))
                attributes[node.name] |= {
                    each.name for each in inside if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                attributes[node.name] |= {
                    each.target.id
                    for each in inside
                    if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
                }
    return attributes, bases, functions


@pytest.mark.parametrize("document", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.stem)
def test_every_method_that_a_document_names_exists(document):
    attributes, bases, functions = _names()

    def has(name: str, attribute: str) -> bool:
        return attribute in attributes[name] or any(has(base, attribute) for base in bases[name] - {name})

    text = document.read_text()
    missing = [
        f"{name}.{attribute}"
        for name, attribute in re.findall(r"`([A-Z][a-z]\w+)\.([a-z_]\w+)", text)
        if name in bases and not has(name, attribute)
    ]
    missing += [name for name in re.findall(r"`(_[a-z]\w+)`", text) if name not in functions]
    assert missing == []
