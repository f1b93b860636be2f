"""A search from end to end: propose, forecast, decide, train, decide again, report. Repeating it resumes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lichen.errors import BUDGET_CODE, ConfigError, RunError
from lichen.files import write_text
from lichen.processes import ask_to_end, ended, last_words
from lichen.searching.definition import Search
from lichen.searching.forecasts import Forecasts
from lichen.searching.gathered import DIRECTIONS
from lichen.searching.points import Place, applied, places_of
from lichen.searching.proposals import proposals_of
from lichen.searching.refusals import refuse_small_budget, refuse_what_nothing_kept
from lichen.searching.results import Results, report
from lichen.searching.rulings import Kind, Ruling, Rulings
from lichen.searching.spending import spent_on
from lichen.searching.tasks import Expected, Task, task_of
from lichen.searching.teller import Teller
from lichen.searching.terms import Terms
from lichen.searching.trials import Trial
from lichen.selection.policy import Policy, decide, exhaust
from lichen.selection.types import Candidate, Decision

POLL_S = 0.2
"""How often running processes are asked whether they have ended."""
LOOK_S = 5.0
"""How often what is running is looked at anew, where nothing ended."""
ELSEWHERE_S = 1.0
"""The same where all that is running is worked on by other processes."""


def run_search(
    search: Search, data: Path | None, home: Path, terms: Terms, *, task: Task | None = None, quiet: bool = False
) -> tuple[Results, Mapping[str, str]]:
    """Do what is missing of ``search`` in the folder ``home``, and write what was found.

    What is finished is left alone, what was broken off goes on; several processes may do it together. Returns what was
    found, and why candidates failed in this call, by their names; the next call tries those again. ``task``: another
    than the one that the file names.

    Raises:
        LichenError: settings or images cannot be used, or ``home`` holds runs of other settings.
        BudgetError: no candidate can be trained within a budget.
    """
    if data is not None and not data.exists():
        raise ConfigError(f"--data {data}: there is no such folder", fix="give the folder of the images")
    runner = Runner(search, task or task_of(search.task), data, home, terms, quiet=quiet)
    candidates = runner.run()
    refuse_small_budget(candidates, terms)
    limits = replace(terms.limits(search), candidate_j=terms.cut_j)
    results = report(search, candidates, limits, terms.place, terms.carbon.pue, spent_on(home), home)
    refuse_what_nothing_kept(candidates, terms)
    return results, runner.failed


class Runner:
    """One process that works on a search, alone or beside others."""

    def __init__(self, search: Search, task: Task, data: Path | None, home: Path, terms: Terms, *, quiet: bool) -> None:
        self._search, self._task, self._home, self._terms = search, task, home, terms
        self._data = data
        self._limits = terms.limits(search)
        self._shared = self._task.begin(search.base, search.path, data, terms.carbon)
        self._proposals = proposals_of(search, terms, home)
        self._policy: Policy = exhaust if terms.trains_all else decide
        self._rulings = Rulings(home / "decisions.jsonl", exhaustive=terms.trains_all)
        self._forecasts = Forecasts(home / "forecasts", self._task, search.planned_images)
        self._threads = max(1, (os.cpu_count() or 1) // terms.at_once)
        self._trials: dict[str, Trial] = {}
        self._active: dict[str, subprocess.Popen[bytes]] = {}
        self._ending: set[str] = set()
        self._logged: dict[str, int] = {}
        """Bytes of a trial's log before this runner began its process."""
        self._finished: dict[str, Candidate] = {}
        self._teller = Teller(terms, search.quality, quiet=quiet)
        self.failed: dict[str, str] = {}
        write_text(home / "definition.yaml", search.path.read_text(encoding="utf-8"))

    def run(self) -> tuple[Candidate, ...]:
        """Work until nothing is left to do; return all candidates as they are then."""
        try:
            while True:
                candidates = self._look()
                self._teller.look(candidates)
                self._proposals.learn(candidates)
                free = self._terms.at_once - len(self._active)
                decision = self._policy(candidates, DIRECTIONS[self._search.quality], self._limits, free=free)
                if self._rule(decision):
                    continue
                self._start(decision)
                waits, runs = (any(one.state == state for one in candidates) for state in ("waiting", "running"))
                if free and not waits and self._proposals.propose():
                    continue
                if not (self._active or decision.start or runs):
                    return candidates  # what waits does not fit into what is left for the search
                self._wait()
        finally:
            for process in self._active.values():
                process.terminate()
            if any(process.poll() is None for process in self._active.values()):
                self._teller.tell(f"waiting until {', '.join(self._active)} saved and ended")
            for process in self._active.values():
                ask_to_end(process)

    def _look(self) -> tuple[Candidate, ...]:
        """All candidates as their folders are now."""
        rulings = self._rulings.standing(self._limits)
        found = []
        for place in places_of(self._search, self._proposals.points()):
            if place.name not in self._finished:
                trial = self._trial(place)
                one = trial.candidate(self._expected(trial), rulings.get(place.name), self.failed.get(place.name))
                if place.name in self._active and one.state != "finished":
                    one = replace(one, state="running", reason="")
                if one.state == "finished":
                    self._finished[place.name] = one
                found.append(one)
            else:
                found.append(self._finished[place.name])
        return tuple(found)

    def _trial(self, place: Place) -> Trial:
        if place.name not in self._trials:
            try:
                config = applied(self._search, place.point, self._shared)
            except ConfigError as error:
                raise ConfigError(f"{place.name}: {error.problem}", fix=error.fix) from error
            config = self._task.seeded(config, place.seed)
            self._trials[place.name] = Trial(
                place, config, self._task, self._search.planned_images, self._terms, self._home
            )
        return self._trials[place.name]

    def _expected(self, trial: Trial) -> Expected:
        try:
            found = self._forecasts.of(
                trial.config, self._threads, lambda words: self._teller.tell(f"{words} of {trial.name}")
            )
        except ConfigError as error:
            raise ConfigError(f"{trial.name}: {error.problem}", fix=error.fix) from error
        self._teller.expects(trial.name, found.duration_s.estimate)
        return found

    def _rule(self, decision: Decision) -> bool:
        """Keep what was decided against candidates, and end those of this process; whether any of it is new."""
        mine = {name: reason for name, reason in decision.stop.items() if name in self._active}
        decided: Mapping[Kind, Mapping[str, str]] = {"refuse": decision.refuse, "stop": mine}
        rulings = [
            Ruling(name, kind, reason, self._limits, self._terms.trains_all)
            for kind, reasons in decided.items()
            for name, reason in reasons.items()
        ]
        new = self._rulings.add(rulings) if rulings else ()
        for name in mine.keys() - self._ending:
            self._active[name].terminate()
            self._ending.add(name)
        return any(ruling.kind == "refuse" for ruling in new)

    def _start(self, decision: Decision) -> None:
        """Begin what was decided, unless another process was faster."""
        for name in decision.start:
            trial = self._trials[name]
            if trial.is_going() or name in self._rulings.standing(self._limits) or trial.find().state == "finished":
                continue
            self._logged[name] = trial.log.stat().st_size if trial.log.exists() else 0
            try:
                self._active[name] = trial.start(self._threads)
            except RunError:  # another runner was a moment faster
                continue
            self._teller.begins(name)

    def _wait(self) -> None:
        """Until a process ends, or it is time to look again."""
        until_s = time.monotonic() + (LOOK_S if self._active else ELSEWHERE_S)
        while time.monotonic() < until_s:
            time.sleep(POLL_S)
            ended = {name: process for name, process in self._active.items() if process.poll() is not None}
            for name, process in ended.items():
                del self._active[name]
                self._ended(self._trials[name], process.returncode)
            self._teller.waiting()
            if ended:
                return

    def _ended(self, trial: Trial, code: int) -> None:
        """Note a failure: an end that nobody asked for, and that is none."""
        was_asked = trial.name in self._ending
        self._ending.discard(trial.name)
        state = trial.find().state
        ended_well = state == "finished" or (state == "cut" and code == 0)
        if code == BUDGET_CODE and self._terms.budget and state == "unfinished":
            trial.lose_to_budget()
            return
        if not (ended_well or was_asked or trial.is_going()):  # another runner may have been a moment faster
            self.failed[trial.name] = (
                f"{self._without_paths(last_words(trial.log, self._logged[trial.name]))} ({ended(code)})"
            )

    def _without_paths(self, words: str) -> str:
        """A page is for others, and the names of folders above the data may be those of people."""
        for folder in filter(None, (self._data, self._home)):
            words = words.replace(f"{folder.absolute().parent}{os.sep}", "")
        return words
