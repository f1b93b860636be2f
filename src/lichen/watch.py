"""What surrounds every phase of work: its energy goes to the trace, its progress and grams to the person waiting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lichen.carbon import grams, grams_text, intensity
from lichen.config import CarbonConfig
from lichen.energy import Energy, Trace, find_meters, trace_name
from lichen.measuring import synchronise
from lichen.progress import Progress
from lichen.team import ALONE, Team


class Watch:
    """Joins a trace of energy readings with progress bars that show the grams so far.

    In a team each process has its own trace, and the one that leads talks to people.
    """

    def __init__(self, trace: Trace, carbon: CarbonConfig, *, quiet: bool, team: Team = ALONE) -> None:
        self.trace, self.team = trace, team
        self.quiet = quiet or not team.leads
        self._intensity, self._pue = intensity(carbon.grid, carbon.month), carbon.pue

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Progress]:
        """Measure everything inside as phase ``name``; the yielded ``Progress`` counts its ``total`` images."""
        with self.trace.phase(name), self.bar(name, total) as progress:
            yield progress

    def bar(self, title: str, total: int) -> Progress:
        """A ``Progress`` with the grams so far, for work whose phases are measured one by one."""
        return Progress(title, total, note=self.grams_so_far, quiet=self.quiet)

    def tell(self, note: str) -> None:
        """Say something that the person should know, unless they asked for quiet."""
        if not self.quiet:
            print(f"note: {note}", file=sys.stderr)  # noqa: T201 (the command line's own voice)

    def grams_so_far(self) -> str:
        """CO2e of everything in the trace, in words; empty where nothing can be measured."""
        total = self._in_words(self.trace.so_far())
        return f"{total} so far" if total else ""

    def grams_spent(self) -> str:
        """CO2e of this process alone, in words; empty where nothing can be measured."""
        return self._in_words(self.trace.spent())

    def _in_words(self, energy: Energy) -> str:
        bounds_j = energy.bounds_j()
        return "" if bounds_j is None else f"{grams_text(grams(bounds_j, self._intensity, self._pue))} CO2e"


@contextmanager
def watching(folder: Path, carbon: CarbonConfig, *, quiet: bool, team: Team = ALONE) -> Iterator[Watch]:
    """A ``Watch`` whose trace lies in ``folder``, with every meter that this machine has.

    What counts for the whole machine is read by one process on each.
    """
    # an unknown place is the user's mistake: say so before anything is measured
    intensity(carbon.grid, carbon.month)
    meters = find_meters(whole_machine=team.local_rank == 0)
    with Trace(folder / trace_name(team.rank), meters, synchronise=synchronise) as trace:
        watch = Watch(trace, carbon, quiet=quiet, team=team)
        yield watch
        if trace.problem:
            watch.tell(trace.problem)
