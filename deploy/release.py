"""Prepares a release: `python deploy/release.py 0.2.0` sets the version everywhere, and dates the changelog.

It changes files only; what follows is printed: checks, commit, tag, wheels.
"""

import argparse
import datetime
import re
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "deploy/helm/parlando/Chart.yaml"
VERSION: Final = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
UNRELEASED: Final = "## Unreleased"
NEXT_STEPS: Final = """\
{count} files say {version} now. Then:
  make lint test
  make dist dist-check
  git commit -am "Version {version}" && git tag v{version}
The wheels are in dist/. They have the classifier "Private :: Do Not Upload", with which PyPI refuses them:
remove it from the pyproject.toml files to publish them there."""


def projects() -> list[Path]:
    """The pyproject.toml of each distribution."""
    return sorted(ROOT.glob("*/pyproject.toml"))


def versioned() -> list[Path]:
    """The files that state the version, besides the changelog."""
    return [*projects(), ROOT / "shared/src/parlando/__init__.py", ROOT / "clients/js/package.json", CHART]


def current() -> str:
    """The version of all distributions. Raises `SystemExit` if they differ."""
    found = {tomllib.loads(path.read_text())["project"]["version"] for path in projects()}
    if len(found) != 1:
        raise SystemExit(f"The distributions have different versions: {', '.join(sorted(found))}")
    return str(found.pop())


def with_version(text: str, old: str, new: str) -> str:
    """A file with the version `new` of its own, and of our distributions that it requires."""
    text = re.sub(rf'(?m)^((?:__)?version(?:__)? = |  "version": )"{re.escape(old)}"', rf'\g<1>"{new}"', text)
    text = re.sub(rf'(?m)^((?:appVersion|version): "?){re.escape(old)}("?)$', rf"\g<1>{new}\g<2>", text)
    return re.sub(rf'("parlando[^"=]*==){re.escape(old)}"', rf'\g<1>{new}"', text)


def dated(changelog: str, version: str, day: datetime.date) -> str:
    """The changelog, in which the unreleased changes are those of `version`, below an empty section.

    Raises
    ------
    SystemExit
        if nothing is unreleased.

    """
    head, found, tail = changelog.partition(f"{UNRELEASED}\n")
    if not found or not tail.partition("\n## ")[0].strip():
        raise SystemExit(f"CHANGELOG.md has nothing below {UNRELEASED!r}")
    return f"{head}{UNRELEASED}\n\n## {version} ({day.isoformat()})\n{tail}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Prepare a release.")
    parser.add_argument("version", help="For example 0.2.0, or 0.2.0rc1.")
    version = parser.parse_args().version
    if not VERSION.fullmatch(version):
        raise SystemExit(f"Expected a version like 0.2.0, but got {version!r}")
    old, page = current(), ROOT / "CHANGELOG.md"
    changelog = dated(page.read_text(), version, datetime.datetime.now(datetime.UTC).date())
    for path in versioned():
        path.write_text(with_version(path.read_text(), old, version))
    page.write_text(changelog)
    print(NEXT_STEPS.format(count=len(versioned()) + 1, version=version))


if __name__ == "__main__":
    main()
