"""What a plan would take on this machine: ``lichen predict``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lichen.budget import Budget
from lichen.carbon import (
    J_PER_KWH,
    Footprint,
    Intensity,
    Range,
    energy_range_text,
    energy_text,
    grams,
    grams_range_text,
    grams_text,
    overtakes_at,
    place_text,
)
from lichen.chain.begin import at_work
from lichen.chain.data import grid_of, load_few
from lichen.chain.fitting import MemoryTable, measure, reckon
from lichen.chain.forecasting import Work, forecast
from lichen.chain.measures import Trained
from lichen.chain.out_of_memory import explaining, training_does_not_fit
from lichen.chain.training import spec_of
from lichen.config import RunConfig
from lichen.energy import NO_READING, Energy, Forecast, find_meters
from lichen.footprint import EACH_IMAGE, SYNTHESIS, TRAINING
from lichen.images import open_source, split_by_patient
from lichen.kinds import check_kind
from lichen.memory import Option, TrainingMemory, gigabytes
from lichen.place import place_of
from lichen.plurals import plural
from lichen.report.formats import duration, whole
from lichen.team import ALONE, Team
from lichen.training.specs import DiffusionSpec

TRAINED = {"autoencoder": "autoencoder", "diffusion": "denoiser", "gan": "StyleGAN2"}
"""What each training trains."""
BYTES_PER_VALUE = 4
"""Images and latents are kept as float32."""


@dataclass(frozen=True)
class Prediction:
    """The forecast of a plan, and how it reads at its place."""

    config: RunConfig
    work: Work
    found: Forecast
    place: Intensity
    device: str
    memory: MemoryTable
    """What training takes, by estimate, in each way."""
    chosen: Mapping[Trained, Option]
    """The way that is forecast: the cheapest within the memory budget."""
    came: Mapping[Trained, TrainingMemory]
    """What a real step by it took."""

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory on the device that works; on the CPU with the training images and their latents."""
        probed = self.found.peak_memory_bytes
        if probed is None or self.device != "cpu":
            return probed
        values = self.work.train_images * sum(map(math.prod, self.work.spec.shapes_kept))
        return probed + BYTES_PER_VALUE * values

    def check_budget(self) -> str | None:
        """A warning if the plan may break its budget; raises BudgetError if even its lower edge does."""
        return _budget(self.config).check_plan(NO_READING, 0.0, self.found)

    @property
    def overtakes_at(self) -> int | None:
        """From how many images on synthesis takes more energy than training; None where that cannot be told."""
        training, once, denoise, decode = (
            self._energy_j(phases) for phases in (TRAINING, ("compile",), ("denoise",), EACH_IMAGE)
        )
        sampling = self.config.sampling
        return overtakes_at(
            Footprint(
                training,
                denoise,
                decode,
                compile_j=once,
                images=sampling.count,
                calls=self.config.network_calls,
                batch=sampling.batch_size,
            )
        )

    def _energy_j(self, phases: Sequence[str]) -> Range:
        bounds_j = self.found.part(phases).energy.bounds_j()
        return Range(0.0, 0.0, 0.0) if bounds_j is None else Range(*bounds_j)

    def carbon_g(self, energy: Energy) -> Range | None:
        """Grams of CO2e, None where nothing could be measured."""
        bounds_j = energy.bounds_j()
        return None if bounds_j is None else grams(bounds_j, self.place, self.config.carbon.pue)

    def as_json(self) -> dict[str, Any]:
        """The forecast for other programs."""
        carbon_g = self.carbon_g(self.found.energy)
        return {
            "images_seen": self.config.training.images_seen,
            "samples": self.config.sampling.count,
            "duration_s": asdict(self.found.duration_s),
            "energy_kwh": _kwh(self.found.energy),
            "carbon_g": None if carbon_g is None else asdict(carbon_g),
            "peak_memory_bytes": self.peak_memory_bytes,
            "training_memory": {
                **self.memory.as_json(),
                "chosen": {network: option.name for network, option in self.chosen.items()},
                "measured": {network: asdict(memory) for network, memory in self.came.items()},
            },
            "synthesis_overtakes_training_at": self.overtakes_at,
            "training": self._part(TRAINING),
            "synthesis": self._part(SYNTHESIS),
            "phases": [asdict(phase) for phase in self.found.phases],
            "sources": list(self.found.sources),
            "probe_s": self.found.probe_s,
            "device": self.device,
            "zone": self.place.zone,
            "month": self.place.month,
            "year": self.place.year,
            "pue": self.config.carbon.pue,
            "not_included": ["read", "audit", "quality", *(["probe"] if self.config.probe.every else [])],
            "attribution": self.place.attribution,
        }

    def __str__(self) -> str:
        """The forecast in lines for people."""
        config, found = self.config, self.found
        calls = "one pass of the generator"
        if config.objective is not None:
            calls = plural(config.network_calls, "network call")
        plan = " and ".join(f"{TRAINED[phase]} {whole(images)}" for phase, images in config.trainings.items())
        time, energy, carbon_g = found.duration_s, found.energy, self.carbon_g(found.energy)
        energy_span = energy_range_text(energy.low_j, energy.energy_j, energy.high_j)
        memory = self.peak_memory_bytes
        rows = [
            ("plan", f"{plan} images seen; {whole(config.sampling.count)} samples of {calls}"),
            ("time", f"{duration(time.estimate)} ({duration(time.low)} to {duration(time.high)})"),
            ("energy", f"{energy_text(energy.energy_j)} ({energy_span})"),
            ("carbon", "not measured" if carbon_g is None else self._carbon(carbon_g)),
            ("memory", "unknown" if memory is None else f"{gigabytes(memory)} at its peak, {self._measured()}"),
            ("split", self._split()),
            ("not in it", f"reading, {'probes, ' if config.probe.every else ''}audit and quality"),
            ("probed", f"{duration(found.probe_s)} of the real steps, on this machine; brackets: 90 % intervals"),
        ]
        lines = [f"{name:<9} {text}" for name, text in rows]
        table = [f"  {line}" for line in self.memory.lines(self.chosen)]
        if not table:
            return "\n".join(
                [*lines, "", "the memory of a StyleGAN2's training step is not estimated, but measured above"]
            )
        estimated = "memory of a training step's tensors in each way, by estimate; compute against the first way:"
        return "\n".join([*lines, "", estimated, *table, *self._chosen()])

    def _chosen(self) -> list[str]:
        """What was chosen, and what it was measured to take."""
        came = ", ".join(f"the {network} {gigabytes(memory.peak_bytes)}" for network, memory in self.came.items())
        measured = f"measured in a real step: {came}"
        if self.config.memory.budget_gb is None:
            return [measured]
        return [self.memory.in_words(self.chosen), measured]

    def _measured(self) -> str:
        if self.device == "cpu":
            return "measured in the probe: the whole process, with the images it will hold"
        return f"measured in the probe: PyTorch on the {self.device}"

    def _carbon(self, carbon_g: Range) -> str:
        if carbon_g.estimate is None:
            return f"{grams_range_text(carbon_g)} CO2e, place unknown; name it with --grid, e.g. FR"
        where = place_text(self.place.zone_name, self.place.month, self.place.year)
        pue = "" if self.config.carbon.pue is None else f", PUE {self.config.carbon.pue:g}"
        return f"{grams_text(carbon_g)} CO2e ({grams_range_text(carbon_g)}) {where}{pue}"

    def _split(self) -> str:
        training, everything = (part.energy.energy_j for part in (self.found.part(TRAINING), self.found))
        if not training or not everything:
            return "not measured"
        overtakes = self.overtakes_at
        crossing = "" if overtakes is None else f"; synthesis overtakes training at {whole(overtakes)} images"
        return f"training {training / everything:.0%}, synthesis {1 - training / everything:.0%}{crossing}"

    def _part(self, phases: tuple[str, ...]) -> dict[str, Any]:
        part = self.found.part(phases)
        return {"duration_s": asdict(part.duration_s), "energy_kwh": _kwh(part.energy)}


def predict(
    config: RunConfig, samples: int | None = None, images_seen: int | None = None, *, team: Team = ALONE
) -> Prediction:
    """Forecast a run with these settings, with other numbers of samples and of images seen if given.

    In a ``team`` it is the run of all its processes together, but for the exchange of their gradients.

    One image is decoded, for its channels, or a few where some may be bad; of all others only number and size are used.

    Raises:
        LichenError: a setting or an image cannot be used.
    """
    check_kind(config)
    config = replace(
        config,
        sampling=replace(config.sampling, count=samples or config.sampling.count),
        training=replace(config.training, images_seen=images_seen or config.training.images_seen),
    )
    place = _budget(config).place  # grams at an unknown place are said before anything is probed
    with at_work(config.training, team) as device:
        work = _work(config)
        table = reckon(work.spec, config, device)
        chosen = table.chosen()
        config = table.settings(chosen)
        spec = work.spec.with_networks_of(config)
        work = replace(work, spec=spec, config=config)
        with explaining(lambda: training_does_not_fit(table)):
            found = forecast(work, device, find_meters(whole_machine=team.local_rank == 0), team)
            came = dict[Trained, TrainingMemory]()
            if isinstance(spec, DiffusionSpec):
                came = {network: measure(network, spec, config.training, device) for network in chosen}
        return Prediction(config, work, found, place, device.type, table, chosen, came)


def _budget(config: RunConfig) -> Budget:
    return Budget(config.budget, place_of(config.carbon), config.carbon.pue)


def _work(config: RunConfig) -> Work:
    images = config.images
    source = open_source(images)
    size = grid_of(config, source)
    train, _ = split_by_patient(source, images.held_out_fraction, images.split_seed, images.patients)
    one = load_few(images, source, size, train)
    spec = spec_of(config, tuple(one.voxels.shape[1:]), one.affine, source, one.classes)
    return Work(spec, config, len(train), config.sampling.count)


def _kwh(energy: Energy) -> dict[str, float] | None:
    bounds_j = energy.bounds_j()
    if bounds_j is None:
        return None
    return dict(zip(("low", "estimate", "high"), (joules / J_PER_KWH for joules in bounds_j), strict=True))
