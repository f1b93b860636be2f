"""A study from end to end: cells, what they will take, the runs, what was found, pages. Repeating it resumes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lichen.carbon import energy_range_text, energy_text, grams, grams_range_text, grams_text
from lichen.config import CarbonConfig, RunConfig
from lichen.energy import NO_READING, Energy
from lichen.errors import ConfigError, RunError
from lichen.files import make_folder, write_text
from lichen.place import place_of
from lichen.plurals import plural
from lichen.report.formats import duration
from lichen.runs import RunFolder
from lichen.studies.cells import Cell, cells_of, check_settings
from lichen.studies.definition import Size, Study
from lichen.studies.jobs import Job
from lichen.studies.page import write_pages
from lichen.studies.planning import Expected, expect_all, total
from lichen.studies.results import Results, gather, write
from lichen.studies.running import Ended, run_jobs
from lichen.telling import Lines


def run_study(
    study: Study,
    size: Size,
    data: Mapping[str, Path],
    home: Path,
    carbon: CarbonConfig,
    *,
    at_once: int = 1,
    quiet: bool = False,
) -> tuple[Results, tuple[Ended, ...]]:
    """Run what is missing of ``study`` in the folder ``home``, ``at_once`` runs at a time, and write what was found.

    ``data``: name -> folder of images. What is finished is left alone, what was broken off goes on. Returns what was
    found and the runs that failed, which the next call tries again.

    Raises:
        LichenError: settings or images cannot be used, or ``home`` holds runs of other settings.
    """
    place, pue = place_of(carbon), carbon.pue
    at_once = 1 if study.kind == "forecast" else at_once  # probes side by side would slow each other
    cells = cells_of(study, size, data, RunConfig(carbon=carbon))
    jobs = [Job(cell, study.kind, home) for cell in cells]
    left = [job for job in jobs if not job.is_finished()]
    check_settings(study, cells)
    _check_folders(data if left else {})
    make_folder(home)
    write_text(home / "definition.yaml", study.path.read_text(encoding="utf-8"))
    expected: dict[str, Expected] = {}
    teller = _Teller(len(jobs), len(jobs) - len(left), quiet=quiet)
    if study.kind == "runs":
        expected.update(expect_all(cells, home / "plan.json", teller.tell))
        teller.tell(_plan_words(expected, [job.cell for job in left], carbon))
    teller.begin({job.cell.name: expected.get(job.cell.name) for job in left}, at_once, carbon)
    threads = max(1, (os.cpu_count() or 1) // at_once)
    failed = run_jobs(left, at_once=at_once, threads=threads, ended=teller.ended, waiting=teller.waiting)
    results = gather(
        study,
        size,
        jobs,
        [each.job for each in failed],
        expected=total(list(expected.values())) if expected else None,
        place=place,
        pue=pue,
        at_once=at_once,
        step=teller.reading,
    )
    write(results, home)
    write_pages(results, home)
    return results, failed


def _check_folders(data: Mapping[str, Path]) -> None:
    """Raise ConfigError for images that are not there."""
    for name, path in data.items():
        if not path.exists():
            raise ConfigError(f"--data {name}={path}: there is no such folder", fix="give the folder of these images")


class _Teller(Lines):
    """Says what goes on: a line for each run that ended, and one a minute in between."""

    def __init__(self, runs: int, done: int, *, quiet: bool) -> None:
        super().__init__("study", quiet=quiet)
        self._runs, self._done = runs, done
        self._left: dict[str, Expected | None] = {}
        self._at_once, self._carbon = 1, CarbonConfig()
        self._expected_s = self._taken_s = 0.0
        self._ended = 0

    def begin(self, left: dict[str, Expected | None], at_once: int, carbon: CarbonConfig) -> None:
        self._left, self._at_once, self._carbon = dict(left), at_once, carbon
        if left and self._done:
            self.tell(f"{self._done} of {plural(self._runs, 'run')} there already")

    def ended(self, found: Ended) -> None:
        name = found.job.cell.name
        self._ended += 1
        self._done += found.problem is None
        expected = self._left.pop(name, None)
        self._taken_s += found.seconds
        self._expected_s += found.seconds if expected is None else expected.duration_s.estimate
        came = duration(found.seconds) if found.problem is None else f"FAILED: {found.problem}"
        self.tell(f"{self._done}/{self._runs}  {name}: {came}{self._time_left()}{self._grams(found)}")

    def waiting(self) -> None:
        if self.is_due():
            self.tell(f"{self._done}/{self._runs}{self._time_left()}")

    def reading(self, _: int) -> None:
        if self.is_due():
            self.tell("reading what was found")

    def _time_left(self) -> str:
        """From what was expected, as far as that came true, of runs that are not over."""
        if not self._left:
            return ""
        pace = self._taken_s / self._expected_s if self._expected_s else 1.0
        usual = self._taken_s / self._ended if self._ended else None
        each = [usual if e is None else pace * e.duration_s.estimate for e in self._left.values()]
        known = [seconds for seconds in each if seconds is not None]
        return f", about {duration(sum(known) / self._at_once)} left" if known else ""

    def _grams(self, found: Ended) -> str:
        """CO2e of all runs of the study so far."""
        if found.job.kind != "runs":
            return ""
        return _grams_words(_spent(found.job.home), self._carbon)


def _spent(home: Path) -> Energy:
    """By all finished runs in the folder of a study."""
    spent = NO_READING
    for path in sorted((home / "runs").iterdir()):
        try:
            found = (RunFolder(path).read_summary() or {}).get("energy", {}).get("total", {})
            spent += Energy(found.get("low_j"), found.get("energy_j"), found.get("high_j"))
        except (RunError, ValueError, AttributeError, TypeError):
            continue
    return spent


def _grams_words(energy: Energy, carbon: CarbonConfig) -> str:
    bounds_j = energy.bounds_j()
    if bounds_j is None:
        return ""
    return f", {grams_text(grams(bounds_j, place_of(carbon), carbon.pue))} CO2e so far"


def _plan_words(expected: Mapping[str, Expected], left: list[Cell], carbon: CarbonConfig) -> str:
    ahead = total([expected[cell.name] for cell in left])
    time_s, energy = ahead.duration_s, ahead.energy
    words = f"{plural(len(left), 'run')} to do, one after the other {duration(time_s.estimate)} "
    words += f"({duration(time_s.low)} to {duration(time_s.high)})"
    bounds_j = energy.bounds_j()
    if bounds_j is not None and energy.energy_j:
        cost = grams(bounds_j, place_of(carbon), carbon.pue)
        span = energy_range_text(energy.low_j, energy.energy_j, energy.high_j)
        grams_words = f"{grams_range_text(cost)}" if cost.estimate is None else grams_text(cost)
        words += f", {energy_text(energy.energy_j)} ({span}), {grams_words} CO2e"
    return f"{words}; reading, audit and quality are not in it"
