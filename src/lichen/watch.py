"""What surrounds every phase of work: its energy goes to the trace, its progress and grams to the person waiting."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lichen.budget import Budget
from lichen.carbon import Range, grams, grams_text, number, progress_text
from lichen.config import BudgetConfig, CarbonConfig
from lichen.energy import Energy, Forecast, Trace, find_meters, read_traces, total, trace_name
from lichen.energy.trace import FRESH_S
from lichen.errors import BudgetError, EnergyError
from lichen.measuring import synchronise
from lichen.outlook import LEAST_SHARE, Outlook
from lichen.place import embodied_of, place_of
from lichen.progress import Progress
from lichen.stopping import Asked
from lichen.team import ALONE, Team

OTHERS_EVERY_S = 10.0
"""The traces of other processes are looked at this often: as often as they are written."""


class Watch:
    """Joins a trace of energy readings with progress bars that show the grams so far, and keeps a budget.

    In a team each process has its own trace, and the one that leads talks to people. ``clock`` is that of the trace.
    """

    def __init__(
        self,
        trace: Trace,
        carbon: CarbonConfig,
        budget: Budget,
        *,
        quiet: bool,
        team: Team = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trace, self.team = trace, team
        self.quiet = quiet or not team.leads
        self.budget = budget
        self._intensity, self._pue = place_of(carbon), carbon.pue
        self._outlook: Outlook | None = None
        self._others = _Others(trace.path)
        self._clock = clock
        self._opened_s = self._asked_s = clock()
        self._longest_step_s = 0.0

    def expect(self, ahead: Forecast, done: Mapping[str, float], *, may_end_early: bool = False) -> None:
        """From now on, bars show what it will be in all; ``done`` is what earlier processes did of each phase.

        Raises:
            BudgetError: even the lower edge of the forecast breaks the budget; of work that ``may_end_early`` that is
                said, and it may begin.
        """
        self._outlook = Outlook(ahead, done)
        try:
            warning = self.budget.check_plan(self.so_far(), self._elapsed_s(), ahead.remaining(done))
        except BudgetError as error:
            if not may_end_early:
                raise
            warning = f"{error.problem}: it ends there, unless it is done before"
        if warning is not None:
            self.tell(warning)

    @contextmanager
    def phase(
        self,
        name: str,
        total: int,
        *,
        done: int = 0,
        may_stop: bool = True,
        also: Sequence[str] = (),
        own_pace_from: float = LEAST_SHARE,
    ) -> Iterator[Progress]:
        """Measure everything inside as phase ``name``; the yielded ``Progress`` counts its ``total`` images.

        ``done`` of them are done already. Phases within are named in ``also`` if the forecast has them apart; the work
        is judged by its own pace from a share ``own_pace_from`` on. A spent budget ends the work at the next image with
        BudgetError, unless what is inside asks ``over_budget`` itself and ``may_stop`` says so.
        """
        bar = self._bar(Progress(name, total, done=done), [name, *also], may_stop, own_pace_from)
        with self.trace.phase(name), bar as progress:
            yield progress

    @contextmanager
    def bar(self, title: str, total: int, phases: Sequence[str]) -> Iterator[Progress]:
        """A ``Progress`` with the grams so far, for work whose ``phases`` are measured one by one."""
        with self._bar(Progress(title, total), phases, may_stop=True) as progress:
            yield progress

    @contextmanager
    def _bar(
        self, progress: Progress, phases: Sequence[str], may_stop: bool, own_pace_from: float = LEAST_SHARE
    ) -> Iterator[Progress]:
        progress.quiet, progress.note = self.quiet, lambda: self._note(progress)
        keep_budget = self.keep_budget()
        progress.after = keep_budget if may_stop else None
        if self._outlook is not None:
            self._outlook.begin(phases, self.so_far(), own_pace_from)
        with progress:
            yield progress
        if self._outlook is not None:
            self._outlook.end()

    def tell(self, note: str) -> None:
        """Say something that the person should know, unless they asked for quiet."""
        if not self.quiet:
            print(f"note: {note}", file=sys.stderr)  # noqa: T201 (the command line's own voice)

    def so_far(self) -> Energy:
        """The energy of all processes that worked on this, earlier ones included."""
        return self.trace.so_far() + self._others.energy(refresh=self.team.size > 1)

    def keep_budget(self) -> Callable[[], None]:
        """What to call after each step of the work that begins now: it raises BudgetError once the budget is spent."""
        self._longest_step_s, self._asked_s = 0.0, self._clock()
        return self._keep_budget

    def asked(self, otherwise: Asked) -> Asked:
        """Whether to stop because of the budget, or ``otherwise``; for training, which saves before it stops."""
        return lambda: self.over_budget() is not None or otherwise()

    def over_budget(self) -> BudgetError | None:
        """The error to end with, if the next step and a checkpoint could break the budget."""
        if not self.budget or not self.team.leads:
            return None
        now_s = self._clock()
        self._longest_step_s, self._asked_s = max(self._longest_step_s, now_s - self._asked_s), now_s
        save_s = 0.0 if self._outlook is None else self._outlook.save_s
        margin_s = 2 * (self._longest_step_s + save_s) + FRESH_S + 1
        used = self.so_far()
        use = self.budget.broken(used + self._soon(margin_s), (self._elapsed_s() + margin_s) / 3600)
        if use is None:
            return None
        return BudgetError(
            f"{use.option} {number(use.limit)} is spent: {use.words} are accounted for, a checkpoint included",
            fix="raise it and repeat the command, which goes on from here",
        )

    def grams_of(self, energy: Energy) -> str:
        """CO2e of an energy here, in words; empty where there is no reading."""
        cost = self._grams(energy)
        return "" if cost is None else f"{grams_text(cost)} CO2e"

    def grams_spent(self) -> str:
        """CO2e of this process alone, in words; empty where nothing can be measured."""
        return self.grams_of(self.trace.spent())

    def _grams(self, energy: Energy) -> Range | None:
        bounds_j = energy.bounds_j()
        return None if bounds_j is None else grams(bounds_j, self._intensity, self._pue)

    def _note(self, progress: Progress) -> str:
        """CO2e so far, and of how much in all once that is known; empty where nothing can be measured."""
        so_far = self.so_far()
        spent, expected = self._grams(so_far), None
        if spent is None:
            return ""
        if self._outlook is not None and progress.share >= LEAST_SHARE:
            expected = self._grams(self._outlook.expected(so_far, progress.share))
        return f"{progress_text(spent, expected)} CO2e"

    def _keep_budget(self) -> None:
        error = self.over_budget()
        if error is not None:
            raise error

    def _soon(self, margin_s: float) -> Energy:
        """What may be used before the next look: ``margin_s`` more of this process, and what others did not yet tell.

        Others are taken to draw no more than the process that leads, which counts for its whole machine.
        """
        ahead = self._in(margin_s)
        if self.team.size > 1:
            unheard_s = self._others.age_s() + OTHERS_EVERY_S + margin_s
            ahead += self._in(unheard_s).scaled(self.team.size - 1)
        return ahead

    def _in(self, seconds: float) -> Energy:
        """What ``seconds`` more would use at the power of this process, or of all that wrote its trace if that is more.

        A process that has only begun says little about itself.
        """
        own = self.trace.spent().scaled(seconds / max(self._clock() - self._opened_s, seconds))
        ever = self.trace.so_far().scaled(seconds / max(self.trace.elapsed_s(), seconds))
        return max(own, ever, key=lambda energy: energy.high_j or 0.0)

    def _elapsed_s(self) -> float:
        """Ranks work side by side, so theirs is the time of this process; alone, earlier hosts' time is added."""
        return self.trace.elapsed_s() + (self._others.duration_s if self.team.size == 1 else 0.0)


class _Others:
    """The traces of other processes in the same folder: of other ranks, or of this work on another host before."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._read_s = -float("inf")
        self._energy = total(())
        self.duration_s = 0.0

    def age_s(self) -> float:
        """How long ago they were looked at."""
        return min(time.monotonic() - self._read_s, OTHERS_EVERY_S)

    def energy(self, *, refresh: bool) -> Energy:
        """Their energy; read once, or again from time to time."""
        now_s = time.monotonic()
        if now_s - self._read_s > (OTHERS_EVERY_S if refresh else float("inf")):
            self._read_s = now_s
            paths = [path for path in self._own.parent.glob("energy-*.jsonl") if path != self._own]
            try:
                phases = read_traces(paths)
            except EnergyError:  # one that another process has only just made; what it says comes with the next look
                return self._energy
            self._energy = total(phase.total for phase in phases)
            self.duration_s = sum(phase.duration_s for phase in phases)
        return self._energy


@contextmanager
def watching(
    folder: Path,
    carbon: CarbonConfig,
    *,
    quiet: bool,
    team: Team = ALONE,
    budget: BudgetConfig | None = None,
) -> Iterator[Watch]:
    """A ``Watch`` whose trace lies in ``folder``, with every meter that this machine has.

    What counts for the whole machine is read by one process on each.
    """
    # what is unknown or incomplete is the user's mistake: say so before anything is measured
    embodied_of(carbon)
    limits = Budget(budget or BudgetConfig(), place_of(carbon), carbon.pue)
    meters = find_meters(whole_machine=team.local_rank == 0)
    with Trace(folder / trace_name(team.rank), meters, synchronise=synchronise) as trace:
        watch = Watch(trace, carbon, limits, quiet=quiet, team=team)
        yield watch
        if trace.problem:
            watch.tell(trace.problem)
