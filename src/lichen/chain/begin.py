"""How work in a run folder begins: one job at a time, settings that fit what is there, a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from lichen.chain.measures import with_measures
from lichen.config import RunConfig, SegmentationConfig, SegmentationTraining, TrainingConfig
from lichen.errors import DependencyError, RunError
from lichen.kinds import check_kind
from lichen.mirror import check_mirrors
from lichen.runs import RunFolder
from lichen.settings import dump_settings, flatten
from lichen.stored import generator_settings, stored_settings
from lichen.team import Team

SHAPING = {"images", "model", "stylegan2", "autoencoder", "denoiser", "segmenter", "training"}
"""Sections whose settings shape the weights: they cannot change once there are some."""


FREE = {
    "autoencoder.checkpointing",
    "denoiser.checkpointing",
    "training.checkpoint_every_s",
    "training.device",
    "training.mirror",
    "training.threads",
    "images.cache_dir",
    "images.path",
    "sampling.count",
}
"""Settings that shape neither weights nor samples; the images themselves are bound by their hash."""


@contextmanager
def holding(folder: RunFolder, team: Team) -> Iterator[None]:
    """Keep other jobs out of ``folder``, and clear away what a killed one left half written."""
    with folder.lock() if team.leads else nullcontext():
        if team.leads:
            folder.clear_partial()
        team.wait()
        yield


def begin(config: RunConfig, folder: RunFolder, team: Team) -> RunConfig:
    """Keep the settings, once for the team, if they can be worked with at all; return them, with the measures taken.

    Measures for a memory budget that an earlier session took are taken again: on another machine the same budget might
    choose others, and the weights would not fit.
    """
    check_mirrors(config.training.mirror)
    check_kind(config)
    if config.memory.budget_gb is not None and has_weights(folder) and folder.config.exists():
        config = with_measures(config, generator_settings(folder))
    if team.leads:
        keep_config(config, folder)
    team.wait()
    return config


def has_weights(folder: RunFolder) -> bool:
    """Whether training in ``folder`` has begun."""
    return any(path for path in folder.checkpoints.glob("*.safetensors") if not path.name.startswith("."))


def keep_config(config: RunConfig | SegmentationConfig, folder: RunFolder) -> None:
    """Write the settings into a new run folder; refuse in an old one what would make other weights or samples."""
    trained = has_weights(folder)
    if trained and not folder.config.exists():
        raise RunError(
            f"{folder.path} holds weights and no config.yaml, so nobody knows how they were made",
            fix="bring its config.yaml back, or choose another folder with --out",
        )
    if folder.config.exists():
        stored = stored_settings(folder)
        if type(stored) is not type(config):
            kind = "a segmentation" if isinstance(stored, SegmentationConfig) else "a run that makes images"
            raise RunError(f"{folder.path} holds {kind}", fix="choose another folder with --out")
        before = dict(flatten(stored))
        sampled = any(folder.samples.glob("sample-*"))
        for name, value in flatten(config):
            section = name.partition(".")[0]
            fixed = (trained and section in SHAPING) or (sampled and section == "sampling")
            if fixed and name not in FREE and before[name] != value:
                raise RunError(
                    f"{folder.path} holds a run with {name} {_words(before[name])}, now it is {_words(value)}",
                    fix="use the old value, or choose another folder with --out",
                )
    folder.write_config(dump_settings(config))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@contextmanager
def at_work(config: TrainingConfig | SegmentationTraining, team: Team) -> Iterator[torch.device]:
    """Set the number of threads and give the device to work on: in a team, each process its own GPU.

    Numbers below the smallest normal one count as 0 until the work is done: in training they come to be, and a CPU
    takes many times longer over each (a twentieth of the time of an autoencoder's training, and more the longer it
    lasts).
    """
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        if config.threads is not None:
            torch.set_num_threads(min(config.threads, os.cpu_count() or 1))
        yield _device(config.device, team)
    finally:
        torch.set_flush_denormal(before)


def flushes_denormals() -> bool:
    """Whether numbers below the smallest normal one count as 0 in this thread; torch sets that and does not say it."""
    return (torch.full((), torch.finfo(torch.float32).tiny) / 2).item() == 0


def _device(name: str, team: Team) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and team.size > 1:
        name = f"cuda:{team.local_rank}"
    try:
        device = torch.device(name if name.startswith(("cpu", "cuda")) else "unknown")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DependencyError(
            f"the device {name!r} cannot be used ({reason})", fix="use the device cpu; lichen doctor says more"
        ) from error
    return device
