"""`python -m song_recognizer`: one process of the song recognizer."""

import sys

from parlando.background import yield_to_others
from parlando.worker.service import run_worker
from song_recognizer.settings import SongSettings
from song_recognizer.worker import SongWorker


def main() -> int:
    """Run until SIGTERM or SIGINT. The exit status: 0 after a drain, 1 after an error."""
    settings = SongSettings()
    yield_to_others()
    return run_worker(
        "song-recognizer", settings, lambda: SongWorker(settings), metrics_port=settings.song_metrics_port
    )


if __name__ == "__main__":
    sys.exit(main())
