"""The software bill of materials of an image: python deploy/sbom.py FOLDER NAME > NAME.cdx.json.

`FOLDER` is the image's unpacked file system: `docker export $(docker create IMAGE) | tar -x -C FOLDER`. The
document is CycloneDX 1.6 in JSON. It lists Python's packages (virtual environment and interpreter), Debian's
packages, and the model files with their SHA-256.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

PACKAGES: Final = ("venv/lib/python3*/site-packages", "usr/local/lib/python3*/site-packages")
"""Where images have Python's packages. Those of Debian's own Python are Debian packages."""
STATUS: Final = "var/lib/dpkg/status"
MODELS: Final = ("models", "weights")
CHUNK: Final = 1 << 20  # bytes


def python_packages(root: Path) -> Iterator[Component]:
    """The distributions that are installed in the image, by name and version, each once."""
    folders = [str(folder) for pattern in PACKAGES for folder in sorted(root.glob(pattern))]
    found = {
        (re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(), each.version): each
        for each in distributions(path=folders)
    }
    for (name, version), each in sorted(found.items()):
        purl = PackageURL("pypi", None, name, version)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=purl,
            bom_ref=str(purl),
            licenses=_licences(each),
        )


def _licences(distribution: Distribution) -> list[License]:
    """What the package states, if it is one line: an SPDX expression, or a name. Some state a whole text."""
    for field in ("License-Expression", "License"):
        text = distribution.metadata[field].strip() if field in distribution.metadata else ""
        if text and "\n" not in text and text != "UNKNOWN":
            return [LicenseFactory().make_from_string(text)]
    return []


def debian_packages(root: Path) -> Iterator[Component]:
    """The installed packages of `dpkg -l`."""
    status = root / STATUS
    for block in status.read_text("utf-8").split("\n\n") if status.exists() else ():
        fields = HeaderParser().parsestr(block)
        if "installed" not in (fields["Status"] or "").split():
            continue
        architecture = {"arch": fields["Architecture"]}
        purl = PackageURL("deb", "debian", fields["Package"], fields["Version"], architecture)
        yield Component(
            type=ComponentType.LIBRARY,
            name=fields["Package"],
            version=fields["Version"],
            purl=purl,
            bom_ref=str(purl),
            supplier=OrganizationalEntity(name=fields["Maintainer"]),
        )


def models(root: Path) -> Iterator[Component]:
    """The files of the models, each with its SHA-256."""
    for folder in MODELS:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield Component(
                    type=ComponentType.MACHINE_LEARNING_MODEL,
                    name=str(file.relative_to(root)),
                    bom_ref=f"file:{file.relative_to(root)}",
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=_sha256(file))],
                )


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def bill(root: Path, name: str) -> str:
    """The document of the image whose files lie in `root`, as JSON that has CycloneDX's schema.

    Raises ValueError if it hasn't.
    """
    bom = Bom()
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=name, bom_ref="image")
    for kind in (python_packages, debian_packages, models):
        bom.components.update(kind(root))
    bom.register_dependency(bom.metadata.component, bom.components)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"The bill of {name} hasn't the schema of CycloneDX: {error}")
    return text


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    print(bill(Path(sys.argv[1]), sys.argv[2]))
