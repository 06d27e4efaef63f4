"""Hooks of the documents' site (deploy/mkdocs.yml): pages from outside docs/, and the links between them.

The documents link each other as files of the repository. On the site, those of `PAGES` are pages too; links
to other files of the repository become plain text.
"""

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY.md": "third-party.md",
    "SECURITY.md": "security-policy.md",
    "clients/js/README.md": "javascript.md",
}
"""File of the repository → page of the site."""
CLIENT: Final = (
    "Parlando",
    "connect",
    "ClientSession",
    "ClientError",
    "JobsClient",
    "SongsClient",
    "AnalysisClient",
    "SpeakersClient",
    "KeysClient",
    "UsageClient",
)
REFERENCE: Final = f"""\
# Python client

`pip install 'parlando[client]'`

::: parlando.client
    options:
      show_root_heading: false
      members: [{", ".join(CLIENT)}]
"""
LINK: Final = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\]\[]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_SOURCES: Final = {page: source for source, page in PAGES.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that don't lie in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "reference.md", content=REFERENCE))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Make the links those of the site."""
    here = page.file.src_uri
    source = _SOURCES.get(here, f"docs/{here}")
    return LINK.sub(lambda found: _link(found, source, here), markdown)


def _link(found: re.Match[str], source: str, here: str) -> str:
    """A link of the file `source`, on the page `here`."""
    target, hash_mark, anchor = found["target"].partition("#")
    if "://" in target or target.startswith("mailto:") or not target:
        return found[0]
    path = normpath(f"{dirname(source)}/{target}" if dirname(source) else target)
    page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if page is None or not (path in PAGES or (ROOT / path).is_file()):
        return found["text"]
    return f"{found['image']}[{found['text']}]({relpath(page, dirname(here) or '.')}{hash_mark}{anchor})"
