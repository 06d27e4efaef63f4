"""The web app's icons as PNG, drawn by Chromium from icon.svg: `python -m support.icons`, in tests/."""

import asyncio
from pathlib import Path
from typing import Final

from support.browser import chromium

WEB: Final = Path(__file__).parents[2] / "api-gateway" / "src" / "api_gateway" / "web"
BACKGROUND: Final = "#0b6b66"
ICONS: Final = (("icon-180.png", 180, 1.0), ("icon-192.png", 192, 1.0), ("icon-512.png", 512, 1.0))
MASKABLE: Final = ("icon-maskable-512.png", 512, 0.72)
"""Systems cut a maskable icon to their shape: its drawing is inside of the middle 80 %."""


async def draw() -> None:
    """Write all icons."""
    drawing = (WEB / "icon.svg").read_text()
    async with chromium() as browser:
        for name, size, share in (*ICONS, MASKABLE):
            page = await browser.new_page(viewport={"width": size, "height": size})
            ground = BACKGROUND if share < 1 else "transparent"
            await page.set_content(
                f"<style>body {{ margin: 0; display: grid; place-items: center; height: 100vh; "
                f"background: {ground} }} svg {{ width: {share:.0%}; }}</style>{drawing}"
            )
            await page.screenshot(path=WEB / name, omit_background=True)
            await page.close()


if __name__ == "__main__":
    asyncio.run(draw())
