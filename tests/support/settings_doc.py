"""The settings tables of README.md and .env.example, made from the settings classes themselves.

`python -m support.settings_doc` writes both (`make fix` does it); a test compares them.
"""

from pathlib import Path

from pydantic_settings import BaseSettings

from api_gateway.settings import GatewaySettings
from audio_processor.settings import ProcessorSettings
from parlando.settings import ServiceSettings
from transcriber.settings import TranscriberSettings

ROOT = Path(__file__).parents[2]
START, END = "<!-- settings: start -->", "<!-- settings: end -->"
SECTIONS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("All services", ServiceSettings),
    ("Gateway", GatewaySettings),
    ("Transcriber", TranscriberSettings),
    ("Audio-processor", ProcessorSettings),
)


def _rows(settings: type[BaseSettings]) -> list[tuple[str, str, str]]:
    shared = ServiceSettings.model_fields if settings is not ServiceSettings else {}
    rows = []
    for name, field in settings.model_fields.items():
        if name not in shared:
            default = "" if field.default in (None, ()) else str(field.default)
            rows.append((name.upper(), default, field.description or ""))
    return rows


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
    """The same as a .env file with everything commented out."""
    lines = ["# Copy to .env and uncomment what you want to change.", ""]
    for title, settings in SECTIONS:
        lines.append(f"# --- {title}")
        for name, default, what in _rows(settings):
            lines += [f"# {what}", f"# {name}={default}"]
        lines.append("")
    return "\n".join(lines)


def readme_with_table(readme: str) -> str:
    """`readme` with the tables between the marks."""
    head, _, rest = readme.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(readme_with_table(path.read_text()))
    (ROOT / ".env.example").write_text(env_example())
