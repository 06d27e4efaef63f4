"""Cells of tables on the terminal."""

from rich.text import Text


def cells(*values: object) -> list[Text]:
    """Values as they are: what a server sends, such as a name with brackets, is no markup."""
    return [Text(str(value)) for value in values]
