"""The most memory that some work has had: on a GPU PyTorch's own count, on the CPU that of the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Peak:
    """Filled in when the work has ended."""

    bytes: int | None = None
    """None where the system does not tell."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the most memory in use on ``device`` by this process while the context is open, all of it, not more."""
    import torch

    peak = Peak()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _forget_peak()
    try:
        yield peak
    finally:
        peak.bytes = torch.cuda.max_memory_allocated(device) if on_gpu else _resident_peak()


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak resident set size
    except OSError:  # not Linux: the peak of the whole process will be told
        return


def _resident_peak() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024
