"""The fixtures of reports: batches, and a real browser where Chromium and Playwright are installed."""

import importlib.util
import shutil
from typing import TYPE_CHECKING

import pytest

from ..batch.conftest import batch, draw, gallery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

__all__ = ["batch", "draw", "gallery"]

#: Debian's name of the program, and those of others.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
    collect_ignore = ["test_browser.py"]


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # milliseconds; the machine may be busy
    with sync_playwright() as playwright:
        # Without the sandbox, because it does not start as root; the pages are ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
