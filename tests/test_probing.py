"""Probes before a run: they hear signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from lichen.chain.forecasting import Work, forecast
from lichen.config import RunConfig
from lichen.energy import Reading
from lichen.presets import load_preset
from lichen.settings import load_settings
from lichen.stopping import Stopped, listening
from lichen.training.generator import GeneratorSpec

TINY = Path(__file__).with_name("tiny.yaml")


def work(count: int = 0) -> Work:
    config: RunConfig = load_settings(TINY, load_preset("demo", 2))
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    spec = GeneratorSpec((1, 32, 32), affine, config.autoencoder, config.denoiser, "v", is_phantom=True, window=())
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
