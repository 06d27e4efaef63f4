"""The generated documents match the code; the README links the documents; modules stay short."""

import subprocess

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


def test_no_module_has_more_than_one_job():
    long = {
        name: lines
        for name in _tracked("*/src/*.py")
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
        "quickstart.md",
        "browser.md",
        "performance.md",
        "benchmarks.md",
        "capacity.md",
        "glossary.md",
        "settings.md",
        "extending.md",
    ],
)
def test_the_documents_that_the_readme_names_are_there(name):
    assert f"docs/{name}" in (ROOT / "README.md").read_text()
    assert (ROOT / "docs" / name).stat().st_size > 500
