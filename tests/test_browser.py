"""The report in a real browser: it opens from disk, draws something, and complains about nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from lichen.chain import run
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings

SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    config = replace(config, carbon=replace(config.carbon, grid="FR"))
    folder = RunFolder(tmp_path_factory.mktemp("browser"))
    run(config, folder, command="lichen run", quiet=True)
    return folder.report


def chromium(page: Path, profile: Path, *switches: str) -> subprocess.CompletedProcess[str]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert "LICHEN_REQUIRE_CHROMIUM" not in os.environ
        pytest.skip("no chromium here; apt-get install chromium")
    command = [browser, *SWITCHES, f"--user-data-dir={profile}", "--enable-logging=stderr", *switches, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def test_the_report_opens_from_disk_without_a_complaint(report: Path, tmp_path: Path) -> None:
    done = chromium(report, tmp_path, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "Inconclusive" in done.stdout
    assert done.stdout.count("<svg") >= 4


@pytest.mark.parametrize("width", [1200, 420])
def test_the_report_draws_its_samples_within_the_window(report: Path, tmp_path: Path, width: int) -> None:
    shot = tmp_path / "report.png"
    size = f"--window-size={width},{5_000_000 // width + 2000}"
    chromium(report, tmp_path / "profile", "--hide-scrollbars", size, f"--screenshot={shot}")
    with Picture.open(shot) as picture:
        assert picture.width >= width
        colours = np.unique(np.asarray(picture.convert("RGB"), dtype=np.int16).reshape(-1, 3), axis=0)
    is_gray = (np.ptp(colours, axis=1) < 4) & (colours.max(axis=1) > 40) & (colours.max(axis=1) < 200)
    assert is_gray.sum() > 50  # thumbnails have many grays; text on this page has few
