"""The memory that each training of a run takes, and the cheapest settings within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lichen.chain.begin import has_weights
from lichen.chain.data import Data
from lichen.chain.measures import AS_IT_IS, Trained, measures, together, trained_networks
from lichen.chain.training import spec_of
from lichen.config import RunConfig, TrainingConfig
from lichen.errors import BudgetError, ConfigError
from lichen.memory import (
    Option,
    TrainingMemory,
    choose,
    estimate_training_memory,
    gigabytes,
    gigabytes_up,
    measure_training_memory,
    smallest_budget,
)
from lichen.models.layout import fast_layout, set_layout
from lichen.runs import RunFolder
from lichen.settings import dump_settings
from lichen.training.autoencoder import autoencoder_loss
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.specs import DiffusionSpec, GeneratorSpec, StyleGAN2Spec
from lichen.watch import Watch

BATCH_SIZE = {"autoencoder": "--autoencoder.batch-size", "denoiser": "--training.batch-size"}
"""The option by which each network's batch is made smaller."""


PLACE = {"autoencoder": 0, "denoiser": 1}
"""Where each network is among those that a specification builds."""


@dataclass(frozen=True)
class MemoryTable:
    """What each way to train each network of a run takes, by estimate."""

    config: RunConfig
    """The settings before any measure."""
    device: torch.device
    options: Mapping[Trained, Sequence[Option]]
    begun: bool
    """Whether weights are there already, which no measure may change."""

    def chosen(self) -> Mapping[Trained, Option]:
        """The cheapest option of each network within the budget; without a budget the first of each.

        Of a StyleGAN2, which has no options, none.

        Raises:
            BudgetError: no option of some network fits.
        """
        budget_gb = self.config.memory.budget_gb
        if not self.options:
            return {}
        found = self.within(math.inf if budget_gb is None else budget_gb * 1e9)
        if found is None:
            least = gigabytes_up(smallest_budget(self.options))
            heaviest = max(self.options, key=lambda network: min(_peaks(self.options[network])))
            raise BudgetError(
                f"--memory.budget-gb is {budget_gb:g}, and no measure makes training fit: the smallest budget that "
                f"works is {least} GB, for the {heaviest}",
                fix=f"set --memory.budget-gb {least}, or use {self.smaller(heaviest)}",
            )
        return found

    def within(self, budget_bytes: float) -> Mapping[Trained, Option] | None:
        """The cheapest option of each network within ``budget_bytes``, or None."""
        return choose(self.options, budget_bytes)

    def settings(self, chosen: Mapping[Trained, Option]) -> RunConfig:
        """The run's settings with the options ``chosen``."""
        ways = {
            network: _ways(self.config, network, self.device, begun=self.begun)[option.name]
            for network, option in chosen.items()
        }
        return together(ways, self.config)

    def compute(self, network: Trained, option: Option) -> float:
        """FLOPs of a step by ``option``, as a ratio to those of the first."""
        return option.memory.flops / self.options[network][0].memory.flops

    def smaller(self, network: Trained) -> str:
        """What makes a step smaller: half the batch, or a part of an image where the batch is one."""
        section = self.config.autoencoder if network == "autoencoder" else self.config.training
        if section.batch_size > 1:
            return f"{BATCH_SIZE[network]} {section.batch_size // 2}"
        return "--autoencoder.crop" if network == "autoencoder" else "smaller images by --images.size"

    def in_words(self, chosen: Mapping[Trained, Option]) -> str:
        """What was chosen and what it costs, in one line."""
        parts = []
        for network, option in chosen.items():
            compute = self.compute(network, option)
            cost = "" if round(compute, 2) == 1 else f", {compute:.2f} times the compute"
            parts.append(f"the {network} {by(option)} ({gigabytes(option.memory.peak_bytes)}{cost})")
        slow = any("bf16" in option.name for option in chosen.values()) and not has_fast_bf16(self.device)
        return (
            f"memory for training, by estimate: {', '.join(parts)}; the budget is {self.config.memory.budget_gb:g} GB"
            + (f"; bf16 may take many times longer than fp32 on this {self.device.type}" if slow else "")
        )

    def lines(self, chosen: Mapping[Trained, Option]) -> list[str]:
        """The table for people, with what was ``chosen`` if there is a budget; no line where nothing is estimated."""
        if not self.options:
            return []
        budget_gb = self.config.memory.budget_gb
        rows = [("training", "by", "peak", "compute", "fits", "weights + gradients + optimiser + activations")]
        for network, options in self.options.items():
            for option in options:
                memory = option.memory
                parts = memory.weights_bytes, memory.gradients_bytes, memory.optimizer_bytes, memory.activations_bytes
                fits = "" if budget_gb is None else "yes" if memory.peak_bytes <= budget_gb * 1e9 else "no"
                if fits and option is chosen[network]:
                    fits = "chosen"
                rows.append(
                    (
                        network,
                        option.name,
                        gigabytes(memory.peak_bytes),
                        f"x {self.compute(network, option):.2f}",
                        fits,
                        " + ".join(map(gigabytes, parts)),
                    )
                )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width] for row in rows]
        return ["  ".join(row).rstrip() for row in cells]

    def as_json(self) -> dict[str, Any]:
        """The table for other programs."""
        budget_gb = self.config.memory.budget_gb
        return {
            "budget_gb": budget_gb,
            **{
                network: [
                    {
                        "option": option.name,
                        "precision": option.precision,
                        **asdict(option.memory),
                        "compute": self.compute(network, option),
                        "fits": None if budget_gb is None else option.memory.peak_bytes <= budget_gb * 1e9,
                    }
                    for option in options
                ]
                for network, options in self.options.items()
            },
        }


def by(option: Option) -> str:
    """How a network is trained, in words that follow its name."""
    return option.name if option.name == AS_IT_IS else f"with {option.name}"


def within_memory(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> RunConfig:
    """The settings with the measures that the memory budget needs; told, and kept in the run folder.

    Raises:
        BudgetError: no measure is enough.
    """
    if config.memory.budget_gb is None or folder.generator.exists():
        return config
    table = table_of_run(config, data, folder, device, watch)
    chosen = table.chosen()
    settled = table.settings(chosen)
    watch.tell(table.in_words(chosen))
    if watch.team.leads:
        folder.write_config(dump_settings(settled))
    watch.team.wait()
    return settled


def table_of_run(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> MemoryTable:
    """The table of a run whose images were read."""
    spec = spec_of(config, tuple(data.train.voxels.shape[1:]), data.train.affine, data.source, data.train.classes)
    return reckon(spec, config, device, processes=watch.team.size, begun=has_weights(folder))


def reckon(
    spec: GeneratorSpec, config: RunConfig, device: torch.device, *, processes: int = 1, begun: bool = False
) -> MemoryTable:
    """Estimate every way to train the networks of a run; takes seconds, no memory and no random numbers.

    Of a StyleGAN2 nothing is estimated.
    """
    if isinstance(spec, StyleGAN2Spec):  # its step is of two networks and differentiates twice
        return MemoryTable(config, device, {}, begun)
    options = {
        network: list(_options(network, spec, config, device, processes, begun=begun))
        for network in trained_networks(config)
    }
    return MemoryTable(config, device, options, begun)


def _options(
    network: Trained, spec: DiffusionSpec, config: RunConfig, device: torch.device, processes: int, *, begun: bool
) -> Iterator[Option]:
    """The ways to train a network, without those that ask for one that cannot be built."""
    for name, way in _ways(config, network, device, begun=begun).items():
        try:
            memory = _of_way(network, spec, way, device, processes)
        except ConfigError:  # not every network has a reversible one of the same channels
            if name == AS_IT_IS:
                raise
            continue
        yield Option(name, way.training.precision, memory)


def _ways(config: RunConfig, network: Trained, device: torch.device, *, begun: bool) -> dict[str, RunConfig]:
    return measures(config, network, begun=begun, fast_bf16=has_fast_bf16(device))


def _of_way(
    network: Trained, spec: DiffusionSpec, way: RunConfig, device: torch.device, processes: int
) -> TrainingMemory:
    return estimate(network, spec.with_networks_of(way), way.training, device, processes)


@lru_cache(maxsize=32)
def estimate(
    network: Trained, spec: DiffusionSpec, training: TrainingConfig, device: torch.device, processes: int = 1
) -> TrainingMemory:
    """The memory of a step of one network's training, with the averaged weights, in each of so many processes."""
    layout = fast_layout(_shape(network, spec)[1:], device)
    batch, loss = _step(network, spec, training, torch.device("cpu"), layout, processes)
    return estimate_training_memory(
        lambda: set_layout(spec.build()[PLACE[network]], layout),
        batch,
        loss,
        precision=training.precision,
        averaged=True,
    )


def measure(network: Trained, spec: DiffusionSpec, training: TrainingConfig, device: torch.device) -> TrainingMemory:
    """What ``estimate`` foretells, of a real step on ``device``."""
    layout = fast_layout(_shape(network, spec)[1:], device)
    batch, loss = _step(network, spec, training, device, layout)
    built = set_layout(spec.build()[PLACE[network]].to(device), layout)
    return measure_training_memory(built, batch, loss, precision=training.precision, averaged=True)


def _step(
    network: Trained,
    spec: DiffusionSpec,
    training: TrainingConfig,
    device: torch.device,
    layout: torch.memory_format,
    processes: int = 1,
) -> tuple[Callable[[], Tensor], Callable[[nn.Module, Tensor], Tensor]]:
    """What makes a process's part of a batch on ``device``, and the loss of it."""
    own, shape, crop = spec.autoencoder, _shape(network, spec), None
    if network == "autoencoder":
        batch_size, crop, loss = own.batch_size, own.crop, autoencoder_loss(own.kl_weight)
    else:
        batch_size, loss = training.batch_size, denoiser_loss(training.objective, device)
    part = slice(0, math.ceil(batch_size / processes))

    def of_batch(module: nn.Module, batch: Tensor) -> Tensor:
        if crop is not None:  # all in one place: where a random one lies, a tensor without values cannot tell
            for axis, side in enumerate(crop, start=2):
                batch = batch.narrow(axis, 0, side)
            batch = batch.clone()
        return loss(module, batch, Draws(torch.Generator(device), batch_size, part))

    return lambda: torch.zeros(part.stop, *shape, device=device).to(memory_format=layout), of_batch


def _shape(network: Trained, spec: DiffusionSpec) -> tuple[int, ...]:
    return spec.image_shape if network == "autoencoder" else spec.latent_shape


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` is known to compute faster in bf16: on a CPU that depends on too much to be promised."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _peaks(options: Sequence[Option]) -> list[int]:
    return [option.memory.peak_bytes for option in options]
