"""The generated documents match the code; the README links the documents; modules stay short."""

import ast
import re
import subprocess
from collections import defaultdict
from functools import cache

import pytest

from support import security_doc
from support.settings_doc import ENV_EXAMPLE, PAGE, ROOT, env_example, page


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def test_the_settings_tables_are_those_of_the_settings():
    assert PAGE.read_text() == page(), "run `make fix`"
    assert ENV_EXAMPLE.read_text() == env_example(), "run `make fix`"


def test_the_table_of_routes_and_scopes_is_that_of_the_code():
    assert security_doc.PAGE.read_text() == security_doc.page(), "run `make fix`"


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
        "long-files.md",
        "settings.md",
        "security.md",
        "usage.md",
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


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "clients/js/README.md"]


@cache
def _anchors(document) -> set[str]:
    """The anchors of the headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", sorted(DOCUMENTS), ids=lambda path: path.stem)
def test_the_links_of_a_document_lead_somewhere(document):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_document_is_on_the_site():
    """`make docs` writes it; pages from outside docs/ are added by deploy/docs_site.py."""
    text = (ROOT / "deploy/mkdocs.yml").read_text()
    listed = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    added = {
        "index.md",
        "changelog.md",
        "third-party.md",
        "javascript.md",
        "reference.md",
        "security-policy.md",
    }
    assert listed == {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")} | added


def test_every_test_that_a_document_names_exists():
    """In docs/security.md they say which test holds what is promised."""
    sources = "".join((ROOT / name).read_text() for name in _tracked("tests/*.py"))
    tests = set(re.findall(r"^ *(?:async )?def (test_\w+)", sources, re.MULTILINE))
    named = {name for document in DOCUMENTS for name in re.findall(r"`(test_\w+)`", document.read_text())}
    assert len(named) > 30
    assert named <= tests


def test_every_risk_of_the_owasp_list_has_tests_and_says_what_remains():
    text = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"^\| \*\*API(\d+)\*\* (.+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    for number, row in rows:
        risk, done, tests, remains = row.split(" | ")
        assert "`test_" in tests, number
        assert min(len(risk), len(done), len(remains)) > 10, number
