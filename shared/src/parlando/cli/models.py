"""`parlando models`: list, pull and path."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from parlando.models.catalogue import MODELS
from parlando.models.store import ModelStore, find

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a model of the catalogue.")]


@app.command("list")
def list_models() -> None:
    """List the models of the catalogue, and whether they are on this machine."""
    store = ModelStore()
    table = Table("model", "engine", "languages", "size", "licence", "here")
    for model in MODELS.values():
        here = "yes" if store.has(model) else "no"
        size = f"{model.size / 1e6:.0f} MB"
        table.add_row(model.name, model.engine, model.languages, size, model.licence, here)
    Console().print(table)
    Console().print(f"Cache: {store.cache}", highlight=False, soft_wrap=True)


@app.command()
def path(name: Name) -> None:
    """Print the folder of a model."""
    print(ModelStore().path(find(name)))


@app.command()
def pull(name: Name = "moonshine-tiny") -> None:
    """Download a model, unless it is on this machine."""
    store, model = ModelStore(), find(name)
    if store.has(model):
        print(f"{name} is in {store.folder(model)}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                for older in tasks.values():
                    if progress.tasks[older].total is None:
                        progress.update(older, total=1, completed=1, visible=False)
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        folder = store.pull(model, report)
    print(f"{name} is in {folder}")
