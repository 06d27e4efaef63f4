"""The colours of speakers in the web app can be read in both themes, and better at high contrast."""

import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "api-gateway" / "src" / "api_gateway" / "web"
COLOUR = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The ratio of contrast as WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("block", "least"), [(0, 4.5), (1, 7.0)], ids=["normal", "high contrast"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_a_speaker_can_be_read(block, least, theme):
    backgrounds = {n: each for n, *each in COLOUR.findall((WEB / "tokens.css").read_text())}
    normal, high = (WEB / "speakers.css").read_text().split("@media (prefers-contrast: more)")
    voices = COLOUR.findall((normal, high)[block])
    assert len(voices) == 8
    for name, *colours in voices:
        for background in ("paper", "card"):
            assert contrast(colours[theme], backgrounds[background][theme]) >= least, (name, background)
