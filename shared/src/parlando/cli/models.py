"""`parlando models`: list, path, pull, convert and extras."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from parlando.errors import ModelError
from parlando.models.catalogue import MODELS, Model, find, whisper_model
from parlando.models.download import shown_size
from parlando.models.openai_checkpoint import convert as convert_folder
from parlando.models.selection import ClusterEngines, Needs, needs, selections
from parlando.models.store import ModelStore
from parlando.models.whisper import converted

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a model of the catalogue.")]
SELECTED = "those that the settings select (STT_ENGINE, WHISPER_MODEL, ENGINES)"


@app.command("list")
def list_models() -> None:
    """List the models of the catalogue, and whether they are on this machine."""
    store = ModelStore()
    table = Table("model", "engine", "languages", "size", "licence", "here")
    table.columns[0].no_wrap, table.columns[0].min_width = True, max(map(len, MODELS))
    for model in MODELS.values():
        here = "yes" if store.has(model) else "no"
        size = "" if model.size is None else shown_size(model.size)
        table.add_row(model.name, model.engine, model.languages, size, model.licence, here)
    Console().print(table)
    Console().print(
        f"Models without a size are on the Hugging Face hub only. Cache: {store.cache}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def path(name: Name) -> None:
    """Print the folder of a model."""
    print(ModelStore().path(find(name)))


@app.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Names of models of the catalogue; none for {SELECTED}.")
    ] = None,
) -> None:
    """Download models, unless they are on this machine."""
    store = ModelStore()
    for model in [find(name) for name in names] if names else _selected().models:
        fetch(store, model)


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="Name of a Whisper model of the catalogue, or a folder of CTranslate2.")
    ],
    target: Annotated[
        Path | None, typer.Argument(dir_okay=False, help="The checkpoint; none for the model's folder.")
    ] = None,
) -> None:
    """Convert a Whisper model of CTranslate2 to the checkpoint that openai-whisper loads. Requires torch."""
    model = whisper_model(source)
    if target is not None:
        convert_folder(Path(source) if model is None else ModelStore().path(model), target)
    elif model is not None:
        target = converted(model)
    elif Path(source).is_dir():
        target = Path(source) / f"{Path(source).resolve().name}.pt"
        convert_folder(Path(source), target)
    else:
        raise ModelError(f"{source} is neither a Whisper model of the catalogue nor a folder")
    print(f"{source} is converted to {target} ({shown_size(target.stat().st_size)})")


@app.command()
def extras() -> None:
    """Print the extras that the settings select, one a line: of parlando-transcriber, and `analyzer`."""
    for extra in _selected().extras:
        print(extra)


def _selected() -> Needs:
    settings = ClusterEngines()
    return needs(selections(settings), analyzer=settings.analyzer)


def fetch(store: ModelStore, model: Model) -> None:
    """Download a model unless it is here, with bars on a terminal, lines elsewhere. Raises `ModelError`."""
    if store.has(model):
        print(f"{model.name} is in {store.folder(model)}")
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Fetching {model.name} ({shown_size(model.size)}) into {store.folder(model)}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                for older in tasks.values():
                    if progress.tasks[older].total is None:
                        progress.update(older, total=1, completed=1, visible=False)
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        store.pull(model, report, lambda line: console.print(f"  {line}", markup=False))
    size = sum((store.folder(model) / file.name).stat().st_size for file in model.files)
    print(f"{model.name} ({shown_size(size)}) is in {store.folder(model)}")
