"""The command `parlando`: its subcommands, one file each."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from parlando.cli import (
    analyze,
    audit,
    deliveries,
    follow,
    jobs,
    keys,
    listen,
    live,
    models,
    owners,
    services,
    songs,
    speakers,
    status,
    tail,
    transcribe,
    up,
    usage,
    watch,
)
from parlando.cli.conform import run as conform
from parlando.cli.conform.drivers.base import Target
from parlando.cli.conform.drivers.table import DRIVERS
from parlando.cli.doctor import run as doctor
from parlando.cli.options import HERE, Key, Recognise, Speakers, Url
from parlando.client import ClientError, Parlando
from parlando.domain.subtitles import Format
from parlando.errors import ParlandoError
from parlando.models.selection import ClusterEngines
from parlando.models.store import ModelStore

LANGUAGE: Final = (
    "Code, tag or English name; several, separated by commas, to detect it among these; none for any."
)
TIMED_WORDS: Final = (Format.SRT, Format.VTT, Format.ASS, Format.KARAOKE)
"""Formats whose cues are better with word times."""
PROMPT: Final = "Text that precedes the speech: topic, names, style."
STEPS: Final = "Steps of an analysis, separated by commas, whose results are annotations (json only)."
HOTWORDS: Final = "Names and terms that may be spoken, separated by commas."

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Live and recorded speech to text on your own machines.",
)
app.add_typer(models.app, name="models", help="Model weights: list, path, pull, convert, extras.")

app.add_typer(jobs.app, name="jobs", help="Jobs: list, show, cancel.")
app.add_typer(keys.app, name="keys", help="API keys: create, list, show, rotate, revoke; tokens.")
app.command("usage")(usage.usage_command)
app.add_typer(owners.app, name="owners", help="Owners and their data: list, show, export, delete, retention.")
app.add_typer(speakers.app, name="speakers", help="Known speakers: add, list, remove.")
app.add_typer(songs.app, name="songs", help="Songs: register, list, remove, recognise.")
app.add_typer(deliveries.app, name="deliveries", help="Undelivered results: list, retry, drop.")


@app.command("transcribe")
def transcribe_command(
    files: Annotated[
        list[str], typer.Argument(help="Audio or video files of any format, folders, or globs.")
    ],
    url: Url = HERE,
    key: Key = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TEXT,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the results; none to print them.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Files processed at a time.")] = 4,
    language: Annotated[str, typer.Option(help=LANGUAGE)] = "",
    prompt: Annotated[str, typer.Option(help=PROMPT)] = "",
    hotwords: Annotated[str, typer.Option(help=HOTWORDS)] = "",
    words: Annotated[bool, typer.Option("--words", help="Include word times (json only).")] = False,
    translate: Annotated[bool, typer.Option("--translate", help="Translate into English.")] = False,
    split: Annotated[bool, typer.Option("--split", help="Treat each channel as a separate speaker.")] = False,
    speakers: Speakers = False,
    recognise: Recognise = False,
    track: Annotated[
        int | None, typer.Option(min=1, help="Audio track, from 1, of files with several.")
    ] = None,
    line_chars: Annotated[int, typer.Option(min=10, max=200, help="Characters in a line of subtitles.")] = 42,
    lines: Annotated[int, typer.Option(min=1, max=4, help="Lines of a subtitle.")] = 2,
    cue_s: Annotated[float, typer.Option(min=1, max=30, help="Seconds that a subtitle is shown.")] = 7,
    steps: Annotated[str, typer.Option("--analyze", help=STEPS)] = "",
    watches: Annotated[
        bool,
        typer.Option("--watch", help="Watch one folder, and transcribe what is put into it, until Ctrl-C."),
    ] = False,
    settle_s: Annotated[
        float,
        typer.Option("--settle", min=0, max=3600, help="Seconds without a change until a file is complete."),
    ] = 5,
    moved_to: Annotated[
        Path | None,
        typer.Option("--move-to", file_okay=False, help="Folder for the finished files of --watch."),
    ] = None,
) -> None:
    """Transcribe recorded files as jobs. Exits with 1 if a file failed.

    With --watch, results are written to --out, or beside the files. The file .parlando-transcribed.jsonl
    there notes them, so that a restart repeats none.
    """
    fields = {
        "language": language,
        "prompt": prompt,
        "hotwords": hotwords,
        "words": str(words or form in TIMED_WORDS).lower(),
        "task": "translate" if translate else "transcribe",
        "channels": "split" if split else "mix",
        **({"diarize": "true"} if speakers or recognise else {}),
        **({"known_speakers": "true"} if recognise else {}),
        **({"analyze": steps} if steps else {}),
        **({"track": str(track)} if track else {}),
    }
    rules = {"max_line_chars": str(line_chars), "max_lines": str(lines), "max_cue_s": str(cue_s)}
    order = transcribe.Order(form, out, fields, rules)
    if watches:
        if len(files) != 1:
            raise ClientError("no_file", f"Expected one folder to watch, but got {len(files)}")
        watched = watch.Watched(Path(files[0]), order, settle_s, moved_to)
        raise typer.Exit(asyncio.run(watch.run(watched, url=url, key=key, parallel=parallel)))
    raise typer.Exit(asyncio.run(transcribe.run(files, order, url=url, key=key, parallel=parallel)))


@app.command("analyze")
def analyze_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Audio or video file.")],
    url: Url = HERE,
    key: Key = None,
    language: Annotated[str | None, typer.Option(help=LANGUAGE)] = None,
    translate_to: Annotated[
        str | None, typer.Option(metavar="CODE", help="Translate the text into this language (ISO 639).")
    ] = None,
    insights: Annotated[
        bool, typer.Option("--insights", help="Find questions, action items, decisions and problems.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File for the result; none to print it.")
    ] = None,
) -> None:
    """Transcribe and analyse a file: entities, topics, sentiment, key sentences and more.

    Exits with 1 if that failed. Ctrl-C cancels it.
    """
    options = {"language": language, "translate_to": translate_to, "insights": insights}
    asyncio.run(analyze.run(file, url=url, key=key, options=options, as_json=as_json, out=out))


@app.command("live")
def live_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Audio file of any format.")],
    url: Url = HERE,
    key: Key = None,
    fast: Annotated[bool, typer.Option("--fast", help="Send as fast as possible, not in real time.")] = False,
    language: Annotated[str | None, typer.Option(help=LANGUAGE)] = None,
    prompt: Annotated[str, typer.Option(help=PROMPT)] = "",
    hotwords: Annotated[str, typer.Option(help=HOTWORDS)] = "",
    translate: Annotated[bool, typer.Option("--translate", help="Translate into English.")] = False,
    speakers: Speakers = False,
    recognise: Recognise = False,
) -> None:
    """Stream a file as live audio. Stable text is bold; the rest may still change."""
    options = live.options(
        language, prompt, hotwords, translate=translate, speakers=speakers, recognise=recognise
    )
    asyncio.run(live.run(file, url=url, key=key, fast=fast, options=options))


@app.command("listen")
def listen_command(
    url: Url = HERE,
    key: Key = None,
    language: Annotated[str | None, typer.Option(help=LANGUAGE)] = None,
    prompt: Annotated[str, typer.Option(help=PROMPT)] = "",
    hotwords: Annotated[str, typer.Option(help=HOTWORDS)] = "",
    translate: Annotated[bool, typer.Option("--translate", help="Translate into English.")] = False,
    speakers: Speakers = False,
    recognise: Recognise = False,
) -> None:
    """Transcribe the microphone live until Ctrl-C. Requires the package sounddevice."""
    options = live.options(
        language, prompt, hotwords, translate=translate, speakers=speakers, recognise=recognise
    )
    asyncio.run(listen.run(url=url, key=key, options=options))


@app.command("detect-language")
def detect_language_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Audio file of any format.")],
    url: Url = HERE,
    key: Key = None,
    language: Annotated[
        str | None, typer.Option(help="Languages that are possible (ISO 639-1), separated by commas.")
    ] = None,
) -> None:
    """Print the language that is spoken in a file, its code and the confidence."""
    with Parlando(url, api_key=key) as client:
        found = client.detect_language(file, language=language)
    typer.echo(f"{found['detected_language']} {found['language_code']} {found['confidence']:.2f}")


@app.command("tail")
def tail_command(
    session: Annotated[str, typer.Argument(help="A session's id.")], url: Url = HERE, key: Key = None
) -> None:
    """Show the captions of a session, from its beginning and as they arrive."""
    asyncio.run(tail.run(session, url=url, key=key))


@app.command("status")
def status_command(url: Url = HERE, key: Key = None) -> None:
    """Show the health of the cluster: Redis, engine, workers, lag."""
    raise typer.Exit(status.run(url, key))


app.command("audit")(audit.audit_command)


@app.command("doctor")
def doctor_command(
    url: Annotated[
        str | None, typer.Option(help="Check the cluster behind this gateway too: http://host:8000.")
    ] = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Check software, models, Redis, ports, folders and keys. Exits with 1 if something can't work."""
    raise typer.Exit(doctor.run(url, key, as_json=as_json))


@app.command("up")
def up_command(
    transcribers: Annotated[
        int, typer.Option(envvar="STREAMING_WORKERS", min=0, help="Worker processes; 0 for one per core.")
    ] = 0,
) -> None:
    """Run the whole cluster on this machine until Ctrl-C. Models that are missing are fetched first."""
    settings = ClusterEngines()
    services.check_packages(settings)
    store = ModelStore()
    for model in services.models(settings):
        if not store.has(model):
            models.fetch(store, model)
    raise typer.Exit(asyncio.run(up.run(transcribers)))


@app.command("conform")
def conform_command(
    dialect: Annotated[str, typer.Option(help=f"What to speak: {', '.join(DRIVERS)}.")] = "native",
    url: Url = HERE,
    key: Key = None,
    fast: Annotated[bool, typer.Option("--fast", help="Send as fast as possible, not in real time.")] = False,
    clip: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Another clip: 16 kHz, mono.")
    ] = None,
    said: Annotated[str, typer.Option(help="The words of that clip.")] = conform.SAID,
) -> None:
    """Check that a host speaks a dialect. Exits with 1 if it doesn't, with 2 if it can't be reached."""
    target = Target(url, key, 0.0 if fast else 1.0)
    raise typer.Exit(asyncio.run(conform.run(dialect, target, file=clip, said=said)))


@app.command("follow")
def follow_command(
    followers: Annotated[list[str], typer.Argument(help="package.module:Class of each follower.")],
    metrics_port: Annotated[int, typer.Option(envvar="METRICS_PORT", min=0, max=65535)] = 0,
) -> None:
    """Run followers: plug-ins that process the events of sessions and jobs (docs/extending.md)."""
    raise typer.Exit(follow.run(followers, metrics_port=metrics_port))


def run() -> None:
    """The entry point. Prints Parlando's own errors as one sentence, without a traceback."""
    try:
        app()
    except (ParlandoError, ClientError) as error:
        why = error.reason if isinstance(error, ClientError) else error.message
        hint = "; start one with: parlando up" if getattr(error, "code", "") == "unreachable" else ""
        said = escape(f"{why}{hint}")
        Console(stderr=True).print(f"[red]parlando:[/red] {said}", highlight=False, soft_wrap=True)
        sys.exit(1)
