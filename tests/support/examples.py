"""The examples in the documents: fenced blocks, and the commands in those of the shell."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.settings_doc import ROOT

DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "clients/js/README.md", *ROOT.glob("docs/**/*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"<(\w[\w ]*)>")
"""What readers replace, such as <key>: for a shell it would be a redirection."""
ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, from the line `line` on."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@cache
def blocks(language: str) -> list[Block]:
    """All blocks of a language."""
    return [
        Block(document, text[: found.start()].count("\n") + 1, found[1], found[2])
        for document in DOCUMENTS
        for text in [document.read_text()]
        for found in FENCE.finditer(text)
        if found[1] == language
    ]


def plain(shell: str) -> str:
    """The shell's text with words in place of the placeholders."""
    return PLACEHOLDER.sub(lambda found: found[1].replace(" ", "-"), shell)


def commands(shell: str) -> list[list[str]]:
    """The commands of a shell's text, as words, without assignments before them, pipes and redirections."""
    found: list[list[str]] = []
    text = re.sub(r"\$\(((?:[^()]|\([^()]*\))*)\)", r"\n\1\n", plain(shell).replace("\\\n", " "))
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ("|", ";", "&&", "||"):
                while words and ASSIGNMENT.fullmatch(words[0]) and not words[0].startswith("-"):
                    words = words[1:]
                if words:
                    found.append(words[: words.index(">")] if ">" in words else words)
                words = []
            else:
                words.append(word)
    return found
