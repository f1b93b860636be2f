"""Which meters this machine offers, and why not more."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from lichen.energy.nvml import Nvml, UnreadableGpu, gpu_meters
from lichen.energy.process import WATTS_PER_CORE, ProcessMeter, Watts
from lichen.energy.rapl import POWERCAP, RaplMeter
from lichen.energy.readings import Meter

SETTLE_S = 0.05
"""Real RAPL counters move every millisecond; in some virtual machines they are there and stand still."""


@dataclass(frozen=True)
class Survey:
    """What can be measured here."""

    meters: tuple[Meter, ...]
    notes: tuple[str, ...]
    """Why something better is not there, with a fix where there is one, one line each."""


def find_meters(
    *,
    nvml: Nvml | None = None,
    rapl_root: Path = POWERCAP,
    devices: Path = Path("/dev"),
    environment: Mapping[str, str] | None = None,
    watts_per_core: Watts = WATTS_PER_CORE,
    whole_machine: bool | None = None,
) -> tuple[Meter, ...]:
    """The best meter for each component: GPU counters, RAPL where readable, estimates for the rest. Never raises.

    In a job of several processes per machine, the first counts what belongs to the ``whole_machine``, with every GPU
    that the job may use, and the others (False) only themselves. Without it (None) each process counts alone, with its
    own share of the GPUs. ``nvml`` is a stand-in for ``pynvml``; ``environment`` one for ``os.environ``.
    """
    return survey_meters(
        nvml=nvml,
        rapl_root=rapl_root,
        devices=devices,
        environment=environment,
        watts_per_core=watts_per_core,
        whole_machine=whole_machine,
    ).meters


def survey_meters(
    *,
    nvml: Nvml | None = None,
    rapl_root: Path = POWERCAP,
    devices: Path = Path("/dev"),
    environment: Mapping[str, str] | None = None,
    watts_per_core: Watts = WATTS_PER_CORE,
    whole_machine: bool | None = None,
) -> Survey:
    """The same meters as ``find_meters``, and why something better is not among them. Never raises."""
    gpus: list[Meter] = []
    notes: list[str] = []
    if whole_machine is not False:
        environment = os.environ if environment is None else environment
        # the variables by which processes that count alone share the GPUs out
        shares = frozenset() if whole_machine is None else frozenset({"LOCAL_RANK", "LOCAL_WORLD_SIZE"})
        seen = {name: value for name, value in environment.items() if name not in shares}
        gpus, notes = _gpus(nvml, devices, seen)
    rapl, rapl_note = _rapl(rapl_root)
    counted = rapl.components if rapl else ()
    meters: list[Meter] = [*gpus, *([rapl] if rapl and whole_machine is not False else [])]
    cpu = not any(name.startswith("cpu") for name in counted)
    memory = not any(name.startswith("ram") for name in counted)
    if cpu or memory:
        try:
            meters.append(ProcessMeter(cpu=cpu, memory=memory, watts_per_core=watts_per_core))
        except (psutil.Error, OSError) as error:
            notes.append(f"CPU and memory: this process cannot be looked at ({error})")
    return Survey(tuple(meters), (*notes, *rapl_note))


def _gpus(nvml: Nvml | None, devices: Path, environment: Mapping[str, str]) -> tuple[list[Meter], list[str]]:
    if nvml is None:
        import pynvml  # here and not above: loading it takes longer than reading a trace

        nvml = pynvml
        assert nvml is not None
    try:
        gpus = list(gpu_meters(nvml, environment))
    except (nvml.NVMLError, OSError) as error:
        reason = f"the NVIDIA driver does not answer ({error})"
        # A GPU that works and cannot be measured must not vanish from the sum without a word.
        if (devices / "nvidia0").exists():
            return [UnreadableGpu("gpu", reason)], []
        if (devices / "kfd").exists():
            return [UnreadableGpu("gpu", "AMD GPUs are not supported yet")], []
        return [], [f"GPU: none found; {reason}"]
    return gpus, [] if gpus else ["GPU: none that this process may use; see CUDA_VISIBLE_DEVICES"]


def _rapl(root: Path) -> tuple[RaplMeter | None, list[str]]:
    try:
        meter = RaplMeter(root)
        before = meter.read()
        time.sleep(SETTLE_S if before else 0)
        after = meter.read()
    except (OSError, ValueError) as error:
        return None, [
            f"CPU: the RAPL counters cannot be read ({error}); fix: sudo chmod a+r {root}/intel-rapl*/energy_uj"
        ]
    if not any(name.startswith("cpu") for name in meter.components):
        return None, [f"CPU: no RAPL counters at {root}"]
    if before == after:
        return None, [f"CPU: the RAPL counters at {root} stand still, as in some virtual machines"]
    return meter, []
