"""Probes before a run: they hear signals, keep the budget, and count for a whole team."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from lichen.chain.forecasting import Work, forecast
from lichen.config import RunConfig
from lichen.energy import Reading
from lichen.energy.readings import measured
from lichen.presets import load_preset
from lichen.settings import load_settings
from lichen.stopping import Stopped, listening
from lichen.team import Team
from lichen.training.specs import DiffusionSpec

TINY = Path(__file__).with_name("tiny.yaml")


def work(count: int = 0) -> Work:
    config: RunConfig = load_settings(TINY, load_preset("demo", 2))
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    spec = DiffusionSpec((1, 32, 32), affine, config.autoencoder, config.denoiser, "v", is_phantom=True, window=())
    return Work(spec, config, 60, count)


class Alarm:
    """A meter at whose reading number ``at`` somebody asks the process to stop."""

    def __init__(self, at: int) -> None:
        self.reads, self.at = 0, at

    def describe(self) -> str:
        return "alarm"

    def read(self) -> tuple[Reading, ...]:
        self.reads += 1
        if self.reads == self.at:
            signal.raise_signal(signal.SIGTERM)
        return ()


@pytest.mark.parametrize("reading", [2, 3])
def test_a_signal_during_a_probe_of_training_is_not_taken_for_its_end(reading: int) -> None:
    alarm = Alarm(reading)
    with listening(), pytest.raises(Stopped):
        forecast(work(), torch.device("cpu"), (alarm,))
    assert alarm.reads <= reading + 1


class Steady:
    """A counter that goes up by a joule with each reading."""

    def __init__(self) -> None:
        self.joules = 0.0

    def describe(self) -> str:
        return "steady"

    def read(self) -> tuple[Reading, ...]:
        self.joules += 1.0
        return (measured("gpu0", "counter", self.joules, 0.0),)


@dataclass(frozen=True)
class Twins(Team):
    """Two processes that always say the same, so that a sum is twice the own share."""

    size: int = 2
    own: list[list[list[float]]] = field(default_factory=list)
    """What was added up: low, estimate and high joules of each phase."""

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        self.own.append(tensors[0].tolist())
        for tensor in tensors:
            tensor.mul_(2)


def test_what_is_called_after_each_piece_may_end_a_probe() -> None:
    pieces: list[int] = []

    def after() -> None:
        pieces.append(1)
        if len(pieces) == 3:
            raise KeyError("spent")

    with pytest.raises(KeyError, match="spent"):
        forecast(work(), torch.device("cpu"), (), after=after)
    assert len(pieces) == 3


def test_the_energy_of_a_team_is_that_of_all_its_processes() -> None:
    team = Twins()
    found = forecast(work(count=8), torch.device("cpu"), (Steady(),), team)
    ((*own,),) = team.own
    assert [phase.phase for phase in found.phases] == ["autoencoder", "encode", "diffusion", "denoise", "decode"]
    for phase, ends in zip(found.phases, own, strict=True):
        assert 0 < ends[0] < ends[1] < ends[2]
        assert phase.energy.bounds_j() == tuple(2 * joules for joules in ends)
    assert forecast(work(count=8), torch.device("cpu"), (), Twins()).energy.bounds_j() is None
