"""Options shared by several commands."""

from typing import Annotated, Final

import typer

Url = Annotated[str, typer.Option("--url", envvar="PARLANDO_URL", help="URL of a gateway.")]
Key = Annotated[str | None, typer.Option("--key", envvar="PARLANDO_API_KEY", help="API key, or a token.")]
Speakers = Annotated[bool, typer.Option("--speakers", help="Label who speaks: SPEAKER_00, SPEAKER_01 …")]
Recognise = Annotated[
    bool, typer.Option("--recognise", help="As --speakers, and recognise known speakers by name.")
]
HERE: Final = "http://127.0.0.1:8000"
