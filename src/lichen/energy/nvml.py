"""NVIDIA GPUs: the driver's counter of energy since it was loaded (Volta and newer).

The counter is preferred to polled power, which on A100 and H100 sees a quarter of the time (Yang et al.,
arXiv 2312.02741). It steps about every 100 ms, so a window should last seconds.
"""
# ruff: noqa: D102, N802 (the functions are NVML's own)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lichen.energy.readings import Meter, Reading, absent, measured

COUNTER_ERROR = 0.05
"""Relative error: NVIDIA states +/- 5 % for board power (NVML reference), and Yang et al. find the same."""


class Nvml(Protocol):
    """The part of ``pynvml`` that is used; a test hands in a fake."""

    @property
    def NVMLError(self) -> type[Exception]: ...
    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Sequence[int]: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int: ...


class GpuMeter:
    """One GPU's energy counter; from its first failure on the GPU is absent, and the reason is in ``describe()``."""

    def __init__(self, nvml: Nvml, index: int) -> None:
        self._nvml, self._component = nvml, f"gpu{index}"
        self._uuid, self._name, self._failure = "", "GPU", ""
        try:
            self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
            self._uuid = nvml.nvmlDeviceGetUUID(self._handle)
            self._name = nvml.nvmlDeviceGetName(self._handle)
            if _is_partitioned(nvml, self._handle):
                self._failure = "partitioned (MIG); a slice has no power of its own"
            self._first_mj = self._last_mj = nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except nvml.NVMLError as error:
            self._failure = self._failure or f"no energy counter ({error})"

    def describe(self) -> str:
        """The GPU, how it is measured, or why it is not."""
        how = f"no reading: {self._failure}" if self._failure else "energy counter, within 5 %"
        return f"{self._component} ({self._name}): {how}"

    def read(self) -> tuple[Reading, ...]:
        """One reading: joules of the whole board."""
        if not self._failure:
            self._count()
        if self._failure:
            return (absent(self._component, self._uuid),)
        joules = (self._last_mj - self._first_mj) / 1000
        return (measured(self._component, "counter", joules, COUNTER_ERROR, self._uuid),)

    def _count(self) -> None:
        try:
            now_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._nvml.NVMLError as error:
            self._failure = f"stopped answering ({error})"
            return
        if now_mj < self._last_mj:
            self._failure = "its counter fell; the driver was reloaded"
        self._last_mj = now_mj


class UnreadableGpu:
    """A GPU that is there, or a slice of one, and whose energy nothing tells."""

    def __init__(self, component: str, reason: str, device: str = "") -> None:
        self._component, self._reason, self._device = component, reason, device

    def describe(self) -> str:
        """Why there is no reading."""
        return f"{self._component}: no reading: {self._reason}"

    def read(self) -> tuple[Reading, ...]:
        """One absent reading."""
        return (absent(self._component, self._device),)


def gpu_meters(nvml: Nvml, environment: Mapping[str, str]) -> tuple[Meter, ...]:
    """A meter for each GPU that this process may use, each GPU once.

    ``CUDA_VISIBLE_DEVICES`` is understood as CUDA does, with indices and UUIDs. Indices count along the PCI bus, as in
    NVML; on a host with different GPUs CUDA does so only with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``. Where a launcher
    started several ranks on this host (``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``) that all see all GPUs, each rank gets its
    share and never its neighbour's.

    Raises ``nvml.NVMLError`` if there is no NVIDIA driver.
    """
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    uuids = [nvml.nvmlDeviceGetUUID(handle) for handle in handles]
    visible = visible_devices(environment.get("CUDA_VISIBLE_DEVICES"), uuids)
    return tuple(
        GpuMeter(nvml, device)
        if isinstance(device, int)
        else UnreadableGpu(f"gpu-{device[:12]}", "a MIG slice has no power of its own", device)
        for device in share_of_rank(visible, environment)
    )


def visible_devices(setting: str | None, uuids: Sequence[str]) -> tuple[int | str, ...]:
    """The indices of the GPUs that ``CUDA_VISIBLE_DEVICES`` names, without repeats; a MIG slice stays its own name.

    As in CUDA: unset is all, a UUID may be shortened while it is unique, and the first entry that names no device hides
    itself and all after it.
    """
    if setting is None:
        return tuple(range(len(uuids)))
    chosen: list[int | str] = []
    for entry in setting.split(","):
        name = entry.strip()
        matches = [index for index, uuid in enumerate(uuids) if name.startswith("GPU-") and uuid.startswith(name)]
        if name.isdecimal() and int(name) < len(uuids):
            chosen.append(int(name))
        elif len(matches) == 1:
            chosen.append(matches[0])
        elif name.startswith("MIG-"):
            chosen.append(name)
        else:
            break
    return tuple(dict.fromkeys(chosen))


def share_of_rank(visible: tuple[int | str, ...], environment: Mapping[str, str]) -> tuple[int | str, ...]:
    """Those of the visible GPUs that this rank answers for.

    All of them, unless there are at least as many as ranks on this host: then rank r of n takes the r-th, (r+n)-th, ...
    """
    rank, ranks = environment.get("LOCAL_RANK", ""), environment.get("LOCAL_WORLD_SIZE", "")
    if not (rank.isdecimal() and ranks.isdecimal() and int(ranks) > 1 and len(visible) >= int(ranks)):
        return visible
    return visible[int(rank) :: int(ranks)]


def _is_partitioned(nvml: Nvml, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # most GPUs cannot be partitioned and say so in this way
        return False
