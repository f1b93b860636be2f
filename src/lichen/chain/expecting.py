"""The forecast of a run: made once before its work begins, kept in its folder, and compared with the budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lichen.carbon import energy_range_text, energy_text
from lichen.chain.data import Data
from lichen.chain.forecasting import Work, forecast
from lichen.chain.training import spec_of
from lichen.config import MemoryConfig, RunConfig, SamplingConfig
from lichen.energy import Forecast, find_meters
from lichen.report.formats import duration
from lichen.runs import RunFolder, append_line, now, read_lines
from lichen.sampling import missing_samples
from lichen.settings import dump_settings, from_plain
from lichen.training.generator import Generator
from lichen.training.state import images_seen
from lichen.watch import Watch

LEAST_FORECAST = 2
"""Fewer samples than this many batches are drawn sooner than they are forecast."""


def look_ahead(
    config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch, *, samples: bool = True
) -> None:
    """Tell what training and, with ``samples``, synthesis will take; keep it, and hold it against the budget.

    Raises:
        BudgetError: even the lower edge of the forecast breaks the budget.
    """
    spec = spec_of(config, tuple(data.train.voxels.shape[1:]), data.train.affine, data.source, data.train.classes)
    trained = folder.generator.exists()
    work = Work(spec, config, 0 if trained else len(data.train.voxels), config.sampling.count if samples else 0)
    done: dict[str, float] = {phase: images_seen(folder.training_state(phase)) for phase in config.trainings}
    there = sum(1 for _ in folder.samples.glob("sample-*.json"))
    _expect(work, {**done, **_drawn(config, there)}, folder.forecasts, device, watch)


def look_ahead_of_samples(
    generator: Generator,
    config: SamplingConfig,
    memory: MemoryConfig,
    folder: Path,
    device: torch.device,
    watch: Watch,
) -> None:
    """The same for samples of a finished generator; a few are drawn without a forecast."""
    missing = len(missing_samples(folder, generator, config))
    if missing <= LEAST_FORECAST * config.batch_size and not watch.budget:
        return
    settings = replace(generator.spec.settings(), sampling=config, memory=memory)
    work = Work(generator.spec, settings, 0, config.count)
    home = watch.trace.path.parent
    _expect(work, _drawn(settings, config.count - missing), RunFolder(home).forecasts, device, watch)


def _expect(work: Work, done: dict[str, float], kept: Path, device: torch.device, watch: Watch) -> None:
    default = RunConfig()
    no_part = {name: getattr(default, name) for name in ("images", "carbon", "budget", "probe")}
    settings = dump_settings(replace(work.config, **no_part))
    plan = Plan(work.units(), (settings, work.spec), partial(forecast, work, device, team=watch.team))
    tell_ahead(plan, done, kept, device, watch)


@dataclass(frozen=True)
class Plan:
    """Work that can be forecast."""

    units: Mapping[str, int]
    """How much of each phase there is to do."""
    depends_on: tuple[object, ...]
    """All else that a forecast depends on, but for the machine; what it is must show in its repr."""
    probe: Callable[..., Forecast]
    """(meters, after=callable) -> the forecast, from probes of the work; ``after`` may end them by an exception."""


def tell_ahead(
    plan: Plan,
    done: Mapping[str, float],
    kept: Path,
    device: torch.device,
    watch: Watch,
    *,
    may_end_early: bool = False,
) -> None:
    """Tell what the ``plan`` will take beyond what is ``done``; keep that in ``kept``, and hold it against the budget.

    It is probed once, and anew if anything changes that it depends on.

    Raises:
        BudgetError: even the lower edge breaks the budget, unless the work ``may_end_early``; or it is spent already.
    """
    if not plan.units:
        return
    key = _hash(plan, device, watch.team.size)
    found = _kept(kept, key)
    watch.team.wait()  # all have looked before one writes
    if watch.team.any(found is None):
        with watch.trace.phase("probe"):
            keep_budget = watch.keep_budget()
            keep_budget()  # a budget that is spent already leaves nothing to forecast
            found = plan.probe(find_meters(whole_machine=watch.team.local_rank == 0), after=keep_budget)
        if watch.team.leads:
            append_line(kept, {"at": now(), "plan": key, "units": plan.units, "forecast": asdict(found)})
    assert found is not None
    ahead = found.remaining(done)
    time, energy = ahead.duration_s, ahead.energy
    joules = f"{energy_text(energy.energy_j)} ({energy_range_text(energy.low_j, energy.energy_j, energy.high_j)})"
    watch.tell(
        f"forecast of what is to be done{' at most' * may_end_early}: {duration(time.estimate)} "
        f"({duration(time.low)} to {duration(time.high)})"
        + (f", {joules}, {watch.grams_of(energy)}" if energy.bounds_j() else "")
    )
    watch.expect(found, done, may_end_early=may_end_early)


def _drawn(config: RunConfig, images: int) -> dict[str, float]:
    """How much of each phase of synthesis is done where ``images`` are there, of whatever kind of generator."""
    compiled = float(images >= config.sampling.count)
    return {"compile": compiled, "denoise": images * config.network_calls, "decode": images, "synthesise": images}


def _hash(plan: Plan, device: torch.device, processes: int) -> str:
    """What a forecast depends on: it is made anew if any of it changes."""
    what = (*plan.depends_on, plan.units, str(device), processes, torch.get_num_threads())
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _kept(path: Path, plan: str) -> Forecast | None:
    for line in reversed(read_lines(path)):
        if line.get("plan") == plan:
            try:
                return from_plain(Forecast, line["forecast"])
            except (KeyError, TypeError, ValueError, OverflowError):
                return None
    return None
