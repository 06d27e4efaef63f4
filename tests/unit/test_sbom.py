"""The bill of materials of an image lists what is installed in it, and nothing else."""

import hashlib
import json
import subprocess
import sys

import pytest
import sbom

from support.settings_doc import ROOT

STATUS = """Package: libssl3
Status: install ok installed
Maintainer: Debian OpenSSL Team <openssl@example.org>
Architecture: amd64
Version: 3.0.17-1~deb12u3
Description: Secure Sockets Layer toolkit
 A line that goes on
 .
 with Package: not-one

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: tzdata
Status: hold ok installed
Maintainer: GNU Libc Maintainers <libc@example.org>
Architecture: all
Version: 2025b-0+deb12u1
"""


@pytest.fixture
def image(tmp_path):
    """The files of an image with two Python packages, two Debian packages and a model."""
    for folder, name, licence in [
        ("venv", "Some_Package", "MIT"),
        ("usr/local", "pip", "two\n        lines"),
    ]:
        info = tmp_path / folder / "lib/python3.11/site-packages" / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\nLicense: {licence}\n")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "models/tiny").mkdir(parents=True)
    (tmp_path / "models/tiny/model.onnx").write_bytes(b"weights")
    return tmp_path


def test_it_lists_what_is_installed(image):
    found = {each["bom-ref"]: each for each in json.loads(sbom.bill(image, "parlando-x"))["components"]}
    assert found.keys() == {
        "pkg:pypi/some-package@1.2",
        "pkg:pypi/pip@1.2",
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u3?arch=amd64",
        "pkg:deb/debian/tzdata@2025b-0%2Bdeb12u1?arch=all",
        "file:models/tiny/model.onnx",
    }
    assert found["pkg:pypi/some-package@1.2"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert "licenses" not in found["pkg:pypi/pip@1.2"]
    [digest] = found["file:models/tiny/model.onnx"]["hashes"]
    assert digest == {"alg": "SHA-256", "content": hashlib.sha256(b"weights").hexdigest()}


def test_the_command_writes_it_or_says_how_it_is_called(image):
    command = [sys.executable, str(ROOT / "deploy/sbom.py")]
    good = subprocess.run([*command, str(image), "parlando-x"], capture_output=True, text=True, check=True)
    assert json.loads(good.stdout)["metadata"]["component"]["name"] == "parlando-x"
    bad = subprocess.run([*command, str(image / "absent"), "x"], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "python deploy/sbom.py FOLDER NAME" in bad.stderr
