"""Wheels, versions and licences: what a release contains."""

import datetime

import pytest
import release
import third_party
import wheels

from parlando import __version__
from parlando.cli import services


def test_a_wheel_has_every_file_of_its_sources(tmp_path):
    built = {
        wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in wheels.build(tmp_path, isolation=False)
    }
    names = {"shared": "parlando", "api-gateway": "parlando-gateway"}

    assert len(built) == len(wheels.DISTRIBUTIONS)
    for folder in wheels.DISTRIBUTIONS:
        wheel = built[names.get(folder, f"parlando-{folder}")]
        assert wheels.missing(wheel, wheels.ROOT / folder) == []
        assert wheel.name.split("-")[1] == wheels.version()


def test_every_folder_with_a_distribution_becomes_a_wheel():
    assert {path.parent.name for path in release.projects()} == set(wheels.DISTRIBUTIONS)


def test_everything_has_one_version():
    assert release.current() == wheels.version() == __version__
    for path in release.versioned():
        new = release.with_version(path.read_text(), __version__, "9.8.7")
        assert "9.8.7" in new
        assert not any(__version__ in line and "parlando" in line for line in new.splitlines()), path


def test_a_release_dates_the_unreleased_changes():
    page = "# Changelog\n\n## Unreleased\n\n- A change.\n\n## 0.1.0 (2026-01-01)\n\n- The first.\n"
    changed = release.dated(page, "0.2.0", datetime.date(2026, 11, 27))

    assert changed == page.replace("## Unreleased\n", "## Unreleased\n\n## 0.2.0 (2026-11-27)\n")
    with pytest.raises(SystemExit, match="nothing below"):
        release.dated(changed, "0.3.0", datetime.date(2026, 11, 28))


def test_the_licence_of_everything_is_listed():
    """Not the whole page: other systems and versions of Python need other packages."""
    page = third_party.PAGE.read_text()
    for found in third_party.installed():
        assert third_party.licence(found), found.metadata["Name"]
        assert f"| {found.metadata['Name']} | {found.version} | {third_party.licence(found)} |" in page
    assert page.startswith(third_party.INTRODUCTION)


def test_the_services_of_a_cluster_are_those_that_all_installs():
    wanted = {name for name in services.MODULES if name != "analyzer"}
    required = third_party.distribution("parlando").requires or []
    listed = {
        line.split("==")[0].removeprefix("parlando-")
        for line in required
        if "extra == 'all'" in line.replace('"', "'")
    }
    assert listed >= wanted
