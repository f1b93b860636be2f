"""Writing what a search found: JSON, CSV, ``search.md``, ``report.html`` and ``figures/``.

Figures of candidates and nothing else: no image, no name of a patient or of a file of theirs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lichen.carbon import Intensity
from lichen.files import write_json, write_text
from lichen.searching.definition import Search
from lichen.searching.gathered import Results, gather, scalar
from lichen.searching.page import write_pages
from lichen.searching.spending import Spent
from lichen.selection.recording import to_json
from lichen.selection.types import Candidate, Limits

__all__ = ["Results", "as_csv", "report"]


def report(
    search: Search,
    candidates: Sequence[Candidate],
    limits: Limits,
    place: Intensity,
    pue: float | None,
    spent: Spent,
    home: Path,
) -> Results:
    """Gather what follows from ``candidates`` as they are now, and write all of it into ``home``.

    ``spent`` is all that was spent so far, probes included.
    """
    results = gather(search, candidates, limits, place=place, pue=pue, spent=spent)
    write_json(home / "search.json", results.as_json())
    write_json(home / "candidates.json", to_json(results.candidates))
    write_text(home / "results.csv", as_csv(results))
    write_pages(results, home)
    return results


def as_csv(results: Results) -> str:
    """A row for each candidate; what is not known is empty."""
    settings = list(dict.fromkeys(name for each in results.candidates for name in each.settings))
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["name", *settings, "seed", "state", *_FIGURES, "reason"])
    for each in results.candidates:
        values = [each.settings.get(name, "") for name in settings]
        figures = ["" if value is None else f"{value:.6g}" for value in _figures(each, results)]
        lines.writerow([each.name, *values, each.seed, each.state, *figures, each.reason])
    return file.getvalue()


_FIGURES = (
    *("quality", "quality_low", "quality_high", "forecast_j", "training_j", "synthesis_j", "spent_j"),
    *("cost_g", "cost_g_low", "cost_g_high", "cut_quality", "cut_spent_j", "training_s", "parameters"),
    *("training_flop", "peak_memory_bytes", "copy_rate"),
)


def _figures(each: Candidate, results: Results) -> list[float | None]:
    cost_g = None if each.cost_j is None else results.grams(each.cost_j)
    found, cut = each.found, each.cut
    return [
        *((None,) * 3 if found is None else (found.quality, found.low, found.high)),
        scalar(each.forecast_j),
        scalar(each.training_j),
        scalar(each.synthesis_j),
        each.spent_j,
        *((None,) * 3 if cost_g is None else (cost_g.estimate, cost_g.low, cost_g.high)),
        *((None,) * 2 if cut is None else (cut.quality, cut.spent_j)),
        each.training_s,
        each.parameters,
        each.training_flop,
        each.peak_memory_bytes,
        each.copy_rate,
    ]
