"""One candidate in the folder of a search: a run folder, a process that works on it, and what is known of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lichen.carbon import Range
from lichen.config import BudgetConfig, EnergyBudgetConfig
from lichen.errors import ConfigError, RunError
from lichen.files import write_json, write_text
from lichen.plans import comparable
from lichen.processes import begin, is_going
from lichen.runs import RunFolder
from lichen.searching.points import Place
from lichen.searching.rulings import Ruling
from lichen.searching.tasks import NOTHING, Expected, Findings, Settings, Task, joules, range_of
from lichen.searching.terms import Terms
from lichen.selection.types import Candidate, Measured, State
from lichen.settings import dump_settings, from_plain, load_settings


@dataclass(frozen=True)
class Trial:
    """The work of one candidate."""

    place: Place
    config: Settings
    """All its settings, without a budget."""
    task: Task
    planned_images: int
    terms: Terms
    home: Path
    """The folder of the search."""

    @property
    def name(self) -> str:
        """That of the candidate."""
        return self.place.name

    @property
    def folder(self) -> RunFolder:
        """Where the run is."""
        return RunFolder(self.home / "runs" / self.name)

    @property
    def settings(self) -> Path:
        """All settings of the run, as it is given them."""
        return self.home / "settings" / f"{self.name}.yaml"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.home / "logs" / f"{self.name}.txt"

    @property
    def kept_cut(self) -> Path:
        """What it could do when its budget was spent, kept while it goes on beyond it."""
        return self.home / "cuts" / f"{self.name}.json"

    def lose_to_budget(self) -> None:
        """Note that its budget was spent before there was anything to test."""
        write_json(self.kept_cut, asdict(Cut(self.terms.budget, None)))

    def is_going(self) -> bool:
        """Whether a process works on it, a runner's or one that a killed runner left."""
        return is_going(self.log) or self.folder.is_locked()

    def start(self, threads: int) -> subprocess.Popen[bytes]:
        """Begin, or go on, with so many threads.

        Raises:
            RunError: another process works on it.
        """
        findings = self.find()
        if (cut := self._cut(findings)) is not None:  # the summary will be another
            write_json(self.kept_cut, asdict(cut))
        write_text(self.settings, dump_settings(self._next_settings(findings, cut)))
        return begin(self.task.command(self.settings, self.folder.path), self.log, threads)

    def find(self) -> Findings:
        """What its folder says; nothing where its summary is damaged, so that its process writes it anew.

        Raises:
            RunError: its settings are damaged, or others than the search has.
        """
        if not self.folder.config.exists():
            return NOTHING
        try:
            made = load_settings(self.folder.config, self.task.default)
        except ConfigError as error:
            raise RunError(error.problem, fix="delete that run; it is made anew, and its energy forgotten") from error
        if comparable(made) != comparable(self.config):
            raise RunError(
                f"{self.folder.path} was made with other settings than the search now has",
                fix="choose another folder with --out, or delete that run",
            )
        try:
            return self.task.find(self.config, self.folder, self.planned_images)
        except RunError:
            return NOTHING

    def candidate(self, expected: Expected, ruling: Ruling | None, failed: str | None) -> Candidate:
        """All that is known of it: its folder is the truth, then come rulings and a failure of this runner."""
        findings = self.find()
        state, reason = self._state(findings, ruling, failed)
        is_done = findings.state == "finished"
        cut = self._cut(findings) if self.task.takes_budget else None
        return Candidate(
            name=self.name,
            settings=self.place.settings,
            seed=self.place.seed,
            state=state,
            training_j=range_of(findings.training) if is_done else _whole(findings, expected),
            synthesis_j=findings.synthesis_j or expected.synthesis_j,
            spent_j=findings.spent_j,
            curve=findings.curve,
            found=findings.measured if is_done else None,
            cut=self._measured_cut(findings, expected),
            training_s=findings.training_s if is_done else None,
            parameters=findings.parameters or expected.parameters,
            training_flop=findings.training_flop or expected.training_flop,
            peak_memory_bytes=expected.peak_memory_bytes,
            copy_rate=findings.copy_rate,
            reason=reason,
            forecast_j=expected.training_j,
            forecast_synthesis_j=expected.synthesis_j,
            cut_untested=cut is not None and cut.measured is None,
        )

    def _state(self, findings: Findings, ruling: Ruling | None, failed: str | None) -> tuple[State, str]:
        if findings.state == "finished":
            return "finished", findings.unmeasured
        if self.is_going():
            return "running", ""
        if not self.terms.converge and (self._cut(findings) is not None or self._has_spent(findings)):
            return "stopped", "its budget is spent"
        if ruling is not None:
            return ("stopped" if ruling.kind == "stop" else "refused"), ruling.reason
        return ("waiting", "") if failed is None else ("failed", failed)

    def _next_settings(self, findings: Findings, cut: Cut | None) -> Settings:
        """Within the budget until that is spent; then, where candidates are to converge, without."""
        beyond = cut is not None or (self.terms.converge and self._has_spent(findings))
        if beyond or not self.task.takes_budget:
            return self.config
        budget = self.terms.budget
        return replace(self.config, budget=BudgetConfig(budget.carbon_g, budget.energy_kwh))

    def _has_spent(self, findings: Findings) -> bool:
        """Whether an earlier budget, no smaller than this one, is spent."""
        if findings.state != "cut" or self.terms.cut_j is None:
            return False
        then_j = self.terms.joules(self._budget_then())
        return then_j is not None and then_j >= self.terms.cut_j

    def _cut(self, findings: Findings) -> Cut | None:
        """How its process ended, or ended before, when the budget was spent; None where it did not, or may go on."""
        if not self.terms.budget:
            return None
        if findings.state == "cut" and self._budget_then() == self.terms.budget:
            return Cut(self.terms.budget, findings.measured)
        try:
            kept = from_plain(Cut, json.loads(self.kept_cut.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, ConfigError):
            return None
        return kept if kept.budget == self.terms.budget else None

    def _measured_cut(self, findings: Findings, expected: Expected) -> Measured | None:
        """What it could do within its budget: as it was tested, or by its curve where its task tests nothing then."""
        if self.task.takes_budget or self.terms.cut_j is None:
            cut = self._cut(findings)
            return None if cut is None else cut.measured
        left_j = self.terms.cut_j - (0.0 if expected.synthesis_j is None else expected.synthesis_j.high)
        within = [point for point in findings.curve if point.spent_j <= left_j]
        if joules(findings.training) <= left_j or not within:
            return None
        return Measured(within[-1].quality, None, None, within[-1].spent_j)

    def _budget_then(self) -> EnergyBudgetConfig:
        """That of the process that worked on it last."""
        then = load_settings(self.folder.config, self.task.default).budget
        return EnergyBudgetConfig(then.carbon_g, then.energy_kwh)


@dataclass(frozen=True)
class Cut:
    """A training that was ended by its budget."""

    budget: EnergyBudgetConfig
    measured: Measured | None
    """What it could do then; None where it had not begun."""


def _whole(findings: Findings, expected: Expected) -> Range | None:
    """Of a training that is not done: by its own pace, or by the forecast before that can be told."""
    spent = range_of(findings.training)
    rest = range_of(findings.rest)
    if spent is not None and rest is not None:
        return spent + rest
    ahead = expected.training_j
    if ahead is None or spent is None or ahead.estimate is None or spent.estimate is None:
        return ahead
    return Range(max(ahead.low, spent.low), max(ahead.estimate, spent.estimate), max(ahead.high, spent.high))
