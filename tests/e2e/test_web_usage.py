"""The Usage view in a real browser: plots, the table beside them, CSV, owners, keyboard."""

import csv
import json
from datetime import timedelta

import pytest

from parlando.ids import fingerprint
from parlando.store.usage_keys import USAGE_TTL_S, today, usage
from support.accessibility import RUN, checker
from support.browser import CHROMIUM, chromium, downloaded, holds, opened, picture
from support.cluster import Cluster

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
LONG_S = 600
ROWS = "document.querySelectorAll('#usage-table tbody tr').length"
DAYS = 30
HOUR_MS = 3_600_000


def counted(day: int) -> dict[str, int]:
    """What `alpha` has used on day `day` of the last 30."""
    return {
        "live_ms": day % 7 * HOUR_MS // 2 + 1500,
        "job_ms": day % 5 * HOUR_MS // 3,
        "omi_ms": HOUR_MS // 4 if day % 3 else 0,
        "sessions": day % 7 + 1,
        "jobs": day % 5,
        "llm_requests": day % 4,
        "llm_input_tokens": 1000 * (day % 4),
        "llm_output_tokens": 100 * (day % 4),
        "llm_micros": 2500 * (day % 4),
    }


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=0, API_KEYS="alpha,beta", PRICE_PER_HOUR_USD="0.04") as running:
        store = running.store()
        owners = {key: fingerprint(key)[:16] for key in ("alpha", "beta")}
        for day in range(DAYS):
            name = usage(0, (today() - timedelta(days=DAYS - 1 - day)).isoformat())
            store.hset(name, mapping={f"{owners['alpha']}:{what}": n for what, n in counted(day).items()})
            store.expire(name, USAGE_TTL_S)
        store.hset(usage(0, today().isoformat()), mapping={f"{owners['beta']}:live_ms": 60_000})
        yield running


async def test_usage_is_plotted_and_has_a_table_and_a_file(cluster):
    async with chromium() as browser, opened(browser, "about:blank", accept_downloads=True) as watched:
        page = watched.page
        await page.add_init_script("localStorage.setItem('parlando.key', 'alpha')")
        await page.goto(f"{cluster.http()}/#usage")
        await holds(page, f"{ROWS} === {today().day}", within=LONG_S)
        await page.select_option("#usage-period", "30-days")
        await holds(page, f"{ROWS} === {DAYS}", within=LONG_S)

        labels = await page.eval_on_selector_all("svg.bars", "all => all.map(x => x.ariaLabel)")
        audio_s = (
            sum(sum(counted(d)[f"{kind}_ms"] for kind in ("live", "job", "omi")) for d in range(DAYS)) // 1000
        )
        shown = f"{audio_s // 3600}:{audio_s // 60 % 60:02}:{audio_s % 60:02} in all"
        assert [label.split(",")[0] for label in labels] == [
            "Audio per day",
            "Cost per day",
            "Tokens of language models per day",
        ]
        assert shown in labels[0]
        assert "live " in labels[0]
        assert f"{(today() - timedelta(days=DAYS - 1))} to {today()}" in labels[0]
        tokens = sum(counted(d)["llm_input_tokens"] for d in range(DAYS))
        assert f"input {tokens:,}" in labels[2]
        heights = await page.eval_on_selector_all(
            ".usage-plot:first-child rect.bar-0", "all => all.map(x => Number(x.getAttribute('height')))"
        )
        live = [counted(d)["live_ms"] for d in range(DAYS)]
        assert heights == pytest.approx([ms * max(heights) / max(live) for ms in live], abs=0.002)
        assert "recordings" in await page.inner_text(".bars-legend >> nth=0")
        await picture(page, "usage", whole=True)
        await page.evaluate(f"{checker()}; null")
        assert (await page.evaluate(RUN))["violations"] == []

        _, content = await downloaded(page.locator("#usage-csv"))
        rows = list(csv.DictReader(content.decode().splitlines()))
        assert [float(row["live_audio_s"]) for row in rows] == [
            counted(d)["live_ms"] / 1000 for d in range(DAYS)
        ]

        await page.fill("#usage-owner", "*")
        await page.press("#usage-owner", "Enter")
        await holds(page, f"{ROWS} === {DAYS + 1}", within=LONG_S)
        await page.fill("#usage-owner", "")
        await page.fill("#usage-from", "2020-01-01")
        assert await page.input_value("#usage-period") == ""
        await page.press("#usage-from", "Enter")
        await holds(
            page, "document.querySelector('svg.bars').ariaLabel.startsWith('Audio per month')", within=LONG_S
        )
        assert watched.complaints == []


async def test_it_is_used_with_the_keyboard_alone_and_shows_what_is_wrong(cluster):
    async with chromium() as browser, opened(browser, "about:blank", dark=True, width=390) as watched:
        page = watched.page
        await page.add_init_script("localStorage.setItem('parlando.key', 'beta')")
        await page.goto(f"{cluster.http()}/#usage")
        await holds(page, f"{ROWS} === 1", within=LONG_S)
        await page.focus("#usage-period")
        order = []
        for _ in range(30):
            await page.keyboard.press("Tab")
            focused = await page.evaluate("document.activeElement.id || document.activeElement.ariaLabel")
            if not order or order[-1] != focused:
                order.append(focused)  # a date has several parts
            if focused == "Usage per day":
                break
        assert order[:2] == ["usage-from", "usage-to"]
        assert order[2:] == ["usage-owner", *order[3:-2], "usage-csv", "Usage per day"]
        width = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], "no sideways scrolling on a phone"
        await picture(page, "phone-usage", whole=True)
        await page.evaluate(f"{checker()}; null")
        assert (await page.evaluate(RUN))["violations"] == []
        await page.fill("#usage-to", "2020-01-01")
        await page.press("#usage-to", "Enter")
        await holds(page, "document.getElementById('usage-notice').dataset.kind === 'bad'", within=LONG_S)
        assert "2020-01-01" in await page.inner_text("#usage-notice")
        assert await page.is_hidden("#usage-results")
        assert json.dumps(watched.complaints).count("400") == len(watched.complaints)
