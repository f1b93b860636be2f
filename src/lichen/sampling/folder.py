"""The folder of synthetic images: which are there, which are missing, and that all come from one source."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lichen.config import SamplingConfig
from lichen.errors import ConfigError, RunError
from lichen.images.write import sample_suffix, sidecar_path
from lichen.sampling.choice import Setting
from lichen.settings import from_plain
from lichen.training.generator import Generator
from lichen.training.specs import DiffusionSpec, GeneratorSpec, StyleGAN2Spec


def sample_name(index: int, spec: GeneratorSpec) -> str:
    """File name of sample ``index``: PNG for pictures, compressed NIfTI for volumes, many channels and label maps."""
    suffix = sample_suffix(spec.image_shape[0], spec.spatial_dims, label_map=bool(spec.classes))
    return f"sample-{index:06}{suffix}"


def drawn_with(spec: GeneratorSpec, config: SamplingConfig) -> dict[str, Any]:
    """The settings that samples of such a generator are a function of."""
    return {name: getattr(config, name) for name in spec.DRAWN_WITH}


def how_drawn(spec: GeneratorSpec, config: SamplingConfig) -> str:
    """The same in words."""
    batches = f"in batches of {config.batch_size}"
    if isinstance(spec, StyleGAN2Spec):
        return f"StyleGAN2, truncation {config.truncation:g}, {batches}"
    compiled = ", compiled" if config.compile else ""
    return f"{Setting(config.sampler, config.schedule, config.steps)} {batches}{compiled}"


def sample_identity(generator: Generator, config: SamplingConfig, index: int) -> dict[str, Any]:
    """All that sample ``index`` is a function of; its sidecar."""
    return {
        "synthetic": True,
        "checkpoint_sha256": generator.sha256,
        **drawn_with(generator.spec, config),
        "index": index,
    }


def begun_settings(folder: Path, base: SamplingConfig) -> SamplingConfig | None:
    """``base`` with the settings that the samples in ``folder`` were drawn with; None if there are none to go by."""
    first = min(folder.glob("sample-*.json"), default=None)
    if first is None:
        return None
    found = _read(first)
    known = {*DiffusionSpec.DRAWN_WITH, *StyleGAN2Spec.DRAWN_WITH}
    settings = {name: value for name, value in found.items() if name in known}
    try:
        return from_plain(SamplingConfig, {**asdict(base), "preset": None, **settings})
    except (TypeError, ValueError, ConfigError):
        return None  # what is wrong with it is said when it is compared


def missing_samples(folder: Path, generator: Generator, config: SamplingConfig) -> list[int]:
    """The indices below ``config.count`` that are not in ``folder`` yet.

    A sample is there when both its image and its sidecar are.

    Raises:
        RunError: the folder holds samples of another generator, sampler or seed. Samples of lichen's first versions
            name their generator by the hash of its file, and so count as another's.
    """
    missing = []
    for index in range(config.count):
        image = folder / sample_name(index, generator.spec)
        sidecar = sidecar_path(image)
        if not (image.is_file() and sidecar.is_file()):
            missing.append(index)
            continue
        found = _read(sidecar)
        for name, wanted in sample_identity(generator, config, index).items():
            if found.get(name) != wanted:
                raise RunError(
                    f"{image} was drawn with {name} {found.get(name)}, not {wanted}",
                    fix="choose another folder for these samples, or delete the old ones",
                )
    return missing


def _read(sidecar: Path) -> dict[str, Any]:
    try:
        found = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{sidecar} cannot be read ({error})", fix="delete it; its sample is then drawn again"
        ) from error
    return found if isinstance(found, dict) else {}
