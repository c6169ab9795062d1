"""Draws the kernels' PNG logos from their SVGs, with a headless Chromium: python draw_logos.py

What it needs is in clients/jupyter/requirements-lab.txt.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

LOGOS = Path(__file__).resolve().parents[2] / "kernel/logos"

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for svg in LOGOS.glob("*/logo-svg.svg"):
        for size in (32, 64):  # Jupyter's names say the size
            page = browser.new_page(viewport={"width": size, "height": size})
            drawing = svg.read_text().replace('width="64" height="64"', f'width="{size}" height="{size}"', 1)
            page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{drawing}")
            page.screenshot(path=svg.with_name(f"logo-{size}x{size}.png"), omit_background=True)
            page.close()
    browser.close()
