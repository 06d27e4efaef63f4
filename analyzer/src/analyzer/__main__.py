"""`python -m analyzer`: one process of the analyzer."""

import sys

from analyzer.settings import AnalyzerSettings
from analyzer.worker import AnalyzerWorker
from parlando.worker.service import run_worker


def main() -> int:
    """Run until SIGTERM or SIGINT. The exit status: 0 after a drain, 1 after an error."""
    settings = AnalyzerSettings()
    return run_worker(
        "analyzer", settings, lambda: AnalyzerWorker(settings), metrics_port=settings.analyzer_metrics_port
    )


if __name__ == "__main__":
    sys.exit(main())
