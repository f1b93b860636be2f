"""Out of memory, said as a plan that would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch

from lichen.chain.fitting import MemoryTable, by
from lichen.config import SamplingConfig, SegmentationConfig
from lichen.errors import LichenError, TrainingError
from lichen.memory import gigabytes, gigabytes_up


@contextmanager
def explaining(explain: Callable[[], LichenError]) -> Iterator[None]:
    """Raise what ``explain`` says in place of PyTorch's error where the work inside runs out of memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise explain() from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether ``error`` says that a GPU or the CPU has no memory left; the latter has no class of its own."""
    said = ("can't allocate memory", "Storage size calculation overflowed")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)


def training_does_not_fit(table: MemoryTable) -> TrainingError:
    """The cheapest plan of ``table`` that takes less than what has just failed and no more than there is."""
    there = memory_of(table.device)
    if not table.options:
        return TrainingError(
            f"training does not fit into the memory of the {table.device.type} ({gigabytes(there)})",
            fix=f"use {table.smaller('denoiser')}",
        )
    now = {network: options[0].memory.peak_bytes for network, options in table.options.items()}
    most = max(now.values())
    takes = " and ".join(f"the {network} {gigabytes(peak)}" for network, peak in now.items())
    problem = f"training does not fit into the memory of the {table.device.type} ({gigabytes(there)}): by estimate "
    problem += f"{takes} for the tensors of a step"
    chosen = table.within(min(there, most - 1))
    if chosen is None:
        heaviest = max(now, key=lambda network: now[network])
        return TrainingError(problem, fix=f"use {table.smaller(heaviest)}; no other measure is enough")
    needed = gigabytes_up(max(option.memory.peak_bytes for option in chosen.values()))
    how = ", ".join(
        f"the {network} {by(option)}, {gigabytes(option.memory.peak_bytes)}" for network, option in chosen.items()
    )
    return TrainingError(problem, fix=f"use --memory.budget-gb {needed}, which trains {how}")


def sampling_does_not_fit(config: SamplingConfig, device: torch.device) -> TrainingError:
    """What to do where images cannot be drawn together."""
    return TrainingError(
        f"drawing {config.batch_size} images together does not fit into the memory of the {device.type} "
        f"({gigabytes(memory_of(device))})",
        fix=f"use --sampling.batch-size {max(1, config.batch_size // 2)}"
        if config.batch_size > 1
        else "end other programs on it, or draw on a machine with more memory",
    )


def segmenting_does_not_fit(config: SegmentationConfig, device: torch.device) -> TrainingError:
    """What to do where a segmenter cannot be trained."""
    return TrainingError(
        f"a segmenter of width {config.segmenter.width} with {config.training.batch_size} images together does not "
        f"fit into the memory of the {device.type} ({gigabytes(memory_of(device))})",
        fix="lower --segmenter.width, --training.batch-size or --images.size",
    )


def memory_of(device: torch.device) -> int:
    """Bytes of memory that ``device`` has, used or not."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return int(psutil.virtual_memory().total)
