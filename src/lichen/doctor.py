"""What each meter, device and optional package can do on this machine, and why not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lichen import __version__

OPTIONAL = {
    "pylibjpeg": "reads DICOM compressed in more ways than JPEG 2000",
    "tensorboard": "shows losses (--training.mirror tensorboard)",
    "wandb": "shows losses (--training.mirror wandb)",
    "mlflow-skinny": "shows losses (--training.mirror mlflow)",
}
"""Packages that lichen can make use of, and what for."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; ``works`` is None for plain information."""

    about: str
    works: bool | None
    detail: str


def examine() -> tuple[Finding, ...]:
    """Look at everything that lichen can make use of. Changes nothing and asks no network."""
    return (*_software(), *_devices(), *_meters(), *_space())


def in_lines(findings: Sequence[Finding]) -> str:
    """The findings for people, one line each."""
    marks = {True: "yes", False: "no", None: ""}
    width = max(len(finding.about) for finding in findings)
    return "\n".join(f"{marks[f.works]:<4} {f.about:<{width}}  {f.detail}" for f in findings)


def _software() -> Iterator[Finding]:
    yield Finding("lichen", None, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in ("torch", "monai", "nibabel", "pydicom", "einops"):
        yield _package(name, "")
    for name, use in OPTIONAL.items():
        yield _package(name, f", optional: {use}")


def _package(name: str, use: str) -> Finding:
    try:
        return Finding(name, True, f"{importlib.metadata.version(name)}{use}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed{use}; fix: pip install {name}")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("CPU", True, f"{os.cpu_count()} cores, {torch.get_num_threads()} PyTorch threads")
    if torch.version.cuda is None:
        yield Finding("GPU", False, "this PyTorch is built without CUDA")
    elif not torch.cuda.is_available():
        yield Finding("GPU", False, "PyTorch sees no CUDA device; nvidia-smi says whether the driver does")
    else:
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Finding(f"cuda:{index}", True, f"{device.name}, {device.total_memory / 1e9:.0f} GB")
    yield Finding("bf16", None, "fast on a GPU of compute capability 8.0 or newer, and on CPUs with AMX or AVX512-BF16")


def _meters() -> Iterator[Finding]:
    from lichen.energy import survey_meters

    survey = survey_meters()
    for description in "; ".join(meter.describe() for meter in survey.meters).split("; "):
        name, _, detail = description.partition(":")
        yield Finding(f"energy of {name}", True, detail.strip())
    for note in survey.notes:
        name, _, detail = note.partition(":")
        yield Finding(f"{name} counter", False, detail.strip())


def _space() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(Path.cwd())
    yield Finding("memory", None, f"{memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB free")
    yield Finding("disk", None, f"{disk.free / 1e9:.0f} GB free here")
