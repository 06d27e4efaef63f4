"""The bills of materials of images: written, and compared with what the images' own programs list."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import sbom

from images.container import Image

LISTED = """
import importlib.metadata as m, json, sys
print(json.dumps([[each.metadata["Name"], each.version] for each in m.distributions(path=[
    folder for folder in sys.path if folder.startswith(("/venv", "/usr/local"))])]))
"""
"""What `pip list` lists. Images have no pip."""


def check_bills(images: Mapping[str, Image], folder: Path) -> None:
    """Write NAME.cdx.json for each image into `folder`, and compare it with the image's dpkg and Python."""
    for name, image in images.items():
        file = folder / f"parlando-{name}.cdx.json"
        file.write_text(sbom.bill(image.root, f"parlando-{name}"))
        found = [each["purl"] for each in json.loads(file.read_text())["components"] if "purl" in each]
        python = {
            f"pkg:pypi/{re.sub(r'[-_.]+', '-', package).lower()}@{version}"
            for package, version in json.loads(image.output("python", "-c", LISTED))
        }
        assert {each for each in found if each.startswith("pkg:pypi/")} == {
            each.replace("+", "%2B") for each in python
        }, name
        lines = image.output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n")
        debian = {tuple(line.split()[1:]) for line in lines.splitlines() if line.startswith("installed ")}
        listed = {
            (each["name"], each["version"])
            for each in json.loads(file.read_text())["components"]
            if each.get("purl", "").startswith("pkg:deb/")
        }
        assert listed == debian, name
        assert len(debian) > 50, f"{name} has almost no Debian packages"
        assert len(python) > 5, f"{name} has almost no Python packages"
        print(f"{file.name}: {len(python)} Python and {len(debian)} Debian packages", flush=True)
