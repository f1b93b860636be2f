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
