"""Points from Optuna's multi-objective sampler: quality and cost are its objectives, memory and copies its constraints.

``optuna.journal`` is its journal storage, which several processes may write to; it owns its locking. A trial is one
point with all its seeds. Only Optuna's public API is used, and nothing of it runs a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lichen.errors import DependencyError, RunError
from lichen.files import make_folder
from lichen.searching.definition import Choices, Search, Span
from lichen.searching.gathered import DIRECTIONS
from lichen.searching.points import Point, places_of, text_of
from lichen.searching.shared import my_turn
from lichen.searching.storage import drop_torn_line, quiet
from lichen.searching.terms import Terms
from lichen.seeds import mix_seed
from lichen.selection.types import Candidate, Limits

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STUDY = "search"
SPACE = "space"
OVER = {"finished", "stopped", "refused", "failed"}


class Journal:
    """The trials of a search in ``home``, old ones included."""

    def __init__(self, search: Search, terms: Terms, home: Path) -> None:
        self._search, self._terms, self._home = search, terms, home
        self._limits = terms.limits(search)
        self._constraints: dict[int, tuple[float, ...]] = {}
        self._optuna = _optuna()
        self._path = home / "optuna.journal"
        make_folder(home)
        higher = "maximize" if DIRECTIONS[search.quality] == "higher" else "minimize"
        with my_turn(home), self._quiet():
            drop_torn_line(self._optuna, self._path)
            storage = self._optuna.storages.JournalStorage(
                self._optuna.storages.journal.JournalFileBackend(str(self._path))
            )
            self._study = self._optuna.create_study(
                storage=storage, study_name=STUDY, directions=[higher, "minimize"], load_if_exists=True
            )
            space = {each.setting: repr(_plain(each)) for each in search.space}
            if self._study.user_attrs.setdefault(SPACE, space) != space:
                raise RunError(
                    f"the journal in {home} is of another space",
                    fix="choose another folder with --out, or --method random",
                )
            self._study.set_user_attr(SPACE, space)

    def points(self) -> tuple[Point, ...]:
        """Those of all trials, each once, in the order in which they were asked for."""
        found: list[Point] = []
        for trial in self._whole():
            point = self._point(trial)
            if point not in found:
                found.append(point)
        return tuple(found)

    def propose(self) -> bool:
        """Ask for one more point, unless there are as many trials as the terms want."""
        with my_turn(self._home), self._quiet():
            for trial in self._study.get_trials(deepcopy=False):  # whoever asked for it was killed while it did
                if trial.state.name == "RUNNING" and not self._is_whole(trial):
                    self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            count = len(self._whole())
            if count >= (self._terms.trials or 0):
                return False
            self._study.sampler = self._sampler(mix_seed(self._terms.seed, "trial", count) % 2**32)
            self._study.ask({each.setting: self._distribution(each) for each in self._search.space})
        return True

    def learn(self, candidates: Sequence[Candidate]) -> None:
        """Tell the sampler of trials all of whose candidates are over; those without a quality teach it nothing."""
        by_name = {candidate.name: candidate for candidate in candidates}
        for trial in self._whole():
            names = [place.name for place in places_of(self._search, [self._point(trial)])]
            mine = [by_name[name] for name in names if name in by_name]
            if trial.state.name != "RUNNING" or len(mine) < len(names) or any(one.state not in OVER for one in mine):
                continue
            values = _values(mine)
            self._constraints[trial.number] = _constraints(mine, self._limits)
            fail = self._optuna.trial.TrialState.FAIL
            with self._quiet():
                self._study.sampler = self._sampler(self._terms.seed)
                self._study.tell(trial.number, values, state=fail if values is None else None, skip_if_finished=True)

    def _quiet(self) -> AbstractContextManager[None]:
        return quiet(self._optuna, self._path)

    def _whole(self) -> list[FrozenTrial]:
        """The trials that have a value of every setting."""
        with self._quiet():
            return [trial for trial in self._study.get_trials(deepcopy=False) if self._is_whole(trial)]

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == {each.setting for each in self._search.space}

    def _point(self, trial: FrozenTrial) -> Point:
        return {
            each.setting: text_of(each, trial.params[each.setting])
            if isinstance(each, Span)
            else trial.params[each.setting]
            for each in self._search.space
        }

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, constraints_func=lambda trial: self._constraints.get(trial.number, (0.0, 0.0)))

    def _distribution(self, dimension: Choices | Span) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if isinstance(dimension, Choices):
            return CategoricalDistribution(dimension.names)
        if dimension.whole:
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.logarithmic)
        return FloatDistribution(dimension.low, dimension.high, log=dimension.logarithmic)


def _values(candidates: Sequence[Candidate]) -> tuple[float, float] | None:
    """Mean quality and cost in joules; None where one of them lacks either."""
    found = [
        (one.found.quality, one.cost_j.estimate)
        for one in candidates
        if one.found is not None and one.cost_j is not None and one.cost_j.estimate is not None
    ]
    if len(found) < len(candidates):
        return None
    quality, cost_j = (sum(values) / len(values) for values in zip(*found, strict=True))
    return quality, cost_j


def _constraints(candidates: Sequence[Candidate], limits: Limits) -> tuple[float, float]:
    """Above 0 where a limit is broken, the largest over the seeds; what is not known breaks none."""
    pairs = (
        (limits.peak_memory_bytes, [one.peak_memory_bytes for one in candidates]),
        (limits.copy_rate, [one.copy_rate for one in candidates]),
    )
    over = [
        0.0 if limit is None else max((value - limit for value in values if value is not None), default=0.0)
        for limit, values in pairs
    ]
    return over[0], over[1]


def _plain(dimension: Choices | Span) -> tuple[object, ...]:
    if isinstance(dimension, Choices):
        return dimension.names
    return (dimension.low, dimension.high, dimension.logarithmic, dimension.whole)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise DependencyError(
            "Optuna is not installed", fix='install it: pip install "lichen[search]", or give --method random'
        ) from error
    return optuna
