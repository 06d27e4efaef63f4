"""The documents say what the code does; the code keeps to the house rules."""

import subprocess

import pytest

from support.settings_doc import ROOT, env_example, readme_with_table


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def test_the_settings_tables_are_those_of_the_settings():
    readme = (ROOT / "README.md").read_text()

    assert readme_with_table(readme) == readme, "run `make fix`"
    assert (ROOT / ".env.example").read_text() == env_example(), "run `make fix`"


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
    ],
)
def test_the_documents_that_the_readme_names_are_there(name):
    assert f"docs/{name}" in (ROOT / "README.md").read_text()
    assert (ROOT / "docs" / name).stat().st_size > 500
