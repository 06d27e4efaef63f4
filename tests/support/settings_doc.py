"""Generates the settings tables of README.md and .env.example from the settings classes.

`python -m support.settings_doc` writes both (`make fix` does it); a test compares them.
"""

from pathlib import Path

from pydantic_settings import BaseSettings

from api_gateway.settings import GatewaySettings
from audio_processor.settings import ProcessorSettings
from parlando.blobs import BlobSettings
from parlando.settings import ServiceSettings
from transcriber.settings import TranscriberSettings

ROOT = Path(__file__).parents[2]
START, END = "<!-- settings: start -->", "<!-- settings: end -->"
SHARED = (ServiceSettings, BlobSettings)
SECTIONS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("All services", ServiceSettings),
    ("Gateway and audio-processor", BlobSettings),
    ("Gateway", GatewaySettings),
    ("Transcriber", TranscriberSettings),
    ("Audio-processor", ProcessorSettings),
)


def _rows(settings: type[BaseSettings]) -> list[tuple[str, str, str]]:
    kinds = [kind for kind in SHARED if settings is not kind and issubclass(settings, kind)]
    shared = {name for kind in kinds for name in kind.model_fields}
    rows = []
    for name, field in settings.model_fields.items():
        if name not in shared:
            rows.append((name.upper(), _default(field.default), field.description or ""))
    return rows


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def table() -> str:
    """The tables in Markdown."""
    parts = []
    for title, settings in SECTIONS:
        parts.append(f"**{title}**\n\n| variable | default | what |\n|---|---|---|")
        for name, default, what in _rows(settings):
            parts.append(f"| `{name}` | {f'`{default}`' if default else ''} | {what.replace('|', '/')} |")
        parts.append("")
    return "\n".join(parts)


def env_example() -> str:
    """The settings as a .env file with every line commented out."""
    lines = ["# Copy to .env and uncomment what you want to change.", ""]
    for title, settings in SECTIONS:
        lines.append(f"# --- {title}")
        for name, default, what in _rows(settings):
            lines += [f"# {what}", f"# {name}={default}"]
        lines.append("")
    return "\n".join(lines)


def readme_with_table(readme: str) -> str:
    """`readme` with the tables between the markers."""
    head, _, rest = readme.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(readme_with_table(path.read_text()))
    (ROOT / ".env.example").write_text(env_example())
