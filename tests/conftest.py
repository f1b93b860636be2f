"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# how long an example takes says how busy the machine is, and nothing about what is tested
settings.register_profile("lichen", deadline=None)
settings.load_profile("lichen")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images and carbon figures, beside the checkout or named by LICHEN_TEST_DATA."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LICHEN_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set LICHEN_TEST_DATA to a copy")
    return folder


LONGEST = (
    *("docs", "study", "browser", "team", "search", "stopping", "memory_budget", "audit_aligned", "sampling_tuned"),
    *("lightning", "chain", "fuzz", "memory", "offline", "slurm", "predict", "cli", "release", "probe", "segmenting"),
    *("kinds", "models_reversible", "presets"),
)
"""The files that take longest: they are begun first, so that no core waits long for the other at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; within a file the order stays."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
