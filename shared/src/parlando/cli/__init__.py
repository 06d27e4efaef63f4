"""The command `parlando`."""

import sys


def main() -> None:
    """The entry point. Without the packages of the command line it says how to install them."""
    try:
        from parlando.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "parlando":
            raise
        print(
            f"parlando: {error.name} isn't installed. The command line needs: pip install 'parlando[cli]'; "
            "a whole cluster: pip install 'parlando[all]'",
            file=sys.stderr,
        )
        sys.exit(1)
    run()
