"""Searches whose candidates take a second, and a process that is a runner of one.

Usage: quick_search.py FILE HOME METHOD [TRIALS]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import quick_candidate
from lichen.carbon import Range
from lichen.config import CarbonConfig, SegmentationConfig
from lichen.energy import Interval
from lichen.searching.definition import Method, Search
from lichen.searching.reading import read_search
from lichen.searching.results import Results
from lichen.searching.segmentation import Segmentation
from lichen.searching.tasks import Expected
from lichen.searching.terms import Terms
from lichen.searching.whole import run_search

WIDTHS = """
lichen_search: 1
title: "How wide must the segmenter be?"
task: segmentation
base:
  training: {images_seen: 20}
space:
  segmenter.width: [4, 8, 16]
seeds: [0]
"""
FRANCE = CarbonConfig(grid="FR")


@dataclass(frozen=True)
class Quick(Segmentation):
    """Candidates that by their forecast take so many joules for each channel of width."""

    per_width_j: float | None = None
    """None: as where nothing can be measured, so that no forecast keeps a candidate from being trained."""

    def command(self, settings: Path, out: Path) -> list[str]:
        return [sys.executable, quick_candidate.__file__, str(settings), str(out)]

    def expect(self, config: SegmentationConfig, planned_images: int) -> Expected:
        del planned_images
        cost = None
        if self.per_width_j is not None:
            joules = config.segmenter.width * self.per_width_j
            cost = Range(0.8 * joules, joules, 1.25 * joules)
        return Expected(cost, None, Interval(1, 1, 1), None, None, None)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def select(search: Search, home: Path, terms: Terms, per_width_j: float | None = None) -> Results:
    results, failed = run_search(search, None, home, terms, task=Quick(per_width_j), quiet=True)
    assert not failed
    return results


def main(path: Path, home: Path, method: Method, trials: int | None) -> int:
    terms = Terms(method, trials, carbon=FRANCE)
    _, failed = run_search(read_search(path, method), None, home, terms, task=Quick(), quiet=True)
    return len(failed)


if __name__ == "__main__":
    file, home, method, *trials = sys.argv[1:]
    sys.exit(main(Path(file), Path(home), cast("Method", method), int(trials[0]) if trials else None))
