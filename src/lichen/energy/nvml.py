"""NVIDIA GPUs: the driver's counter of energy since it was loaded (Volta and newer), or else polled power.

The counter is preferred to polled power, which on A100 and H100 sees a quarter of the time (Yang et al.,
arXiv 2312.02741). It steps about every 100 ms, so a window should last seconds.
"""
# ruff: noqa: D102, N802 (the functions are NVML's own)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lichen.energy.polling import MOST_W, PowerIntegrator, poll_in_background
from lichen.energy.readings import NO_READING, Energy, Meter, Reading, Source, absent

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
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int: ...


class GpuMeter:
    """One GPU: its energy counter, or its polled power where it has none.

    From its first failure on the GPU is absent, and the reason is in ``describe()``.
    """

    def __init__(self, nvml: Nvml, index: int) -> None:
        self._component, self._uuid, self._name = f"gpu{index}", "", "GPU"
        self._gauge: _Counter | PowerIntegrator | None = None
        self._reason = ""
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            self._uuid = nvml.nvmlDeviceGetUUID(handle)
            self._name = nvml.nvmlDeviceGetName(handle)
            if _is_partitioned(nvml, handle):
                self._reason = "partitioned (MIG), and a slice has no power of its own"
            else:
                self._gauge, self._reason = _gauge(nvml, handle)
        except nvml.NVMLError as error:
            self._reason = str(error)

    def describe(self) -> str:
        """The GPU, how it is measured, or why it is not."""
        failure = self._gauge.failure if self._gauge else self._reason
        how = f"no reading: {failure}" if failure or not self._gauge else self._gauge.describe()
        return f"{self._component} ({self._name}): {how}"

    def read(self) -> tuple[Reading, ...]:
        """One reading: joules of the whole board."""
        used = self._gauge.read().bounds_j() if self._gauge else None
        if self._gauge is None or used is None:
            return (absent(self._component, self._uuid),)
        low_j, energy_j, high_j = used
        return (Reading(self._component, self._gauge.source, energy_j, low_j, high_j, self._uuid),)


class _Counter:
    """The driver's counter. Raises ``NVMLError`` when made for a GPU that has none, and never afterwards."""

    source: Source = "counter"

    def __init__(self, nvml: Nvml, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._first_mj = self._last_mj = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        self.failure = ""

    def describe(self) -> str:
        return "energy counter, within 5 %"

    def read(self) -> Energy:
        if not self.failure:
            self._count()
        if self.failure:
            return NO_READING
        joules = (self._last_mj - self._first_mj) / 1000
        return Energy(joules * (1 - COUNTER_ERROR), joules, joules * (1 + COUNTER_ERROR))

    def _count(self) -> None:
        try:
            now_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._nvml.NVMLError as error:
            self.failure = f"stopped answering ({error})"
            return
        if now_mj < self._last_mj:
            self.failure = "its counter fell, the driver was reloaded"
        self._last_mj = now_mj


def _gauge(nvml: Nvml, handle: Any) -> tuple[_Counter | PowerIntegrator | None, str]:
    """The counter, or else polled power, or else the reason why there is neither."""
    try:
        return _Counter(nvml, handle), ""
    except nvml.NVMLError as error:
        no_counter = f"no energy counter ({error})"
    try:
        if nvml.nvmlDeviceGetPowerUsage(handle) == 0:  # a GPU that answers is awake and draws some
            return None, f"{no_counter}, and its power sensor says 0 W"
    except nvml.NVMLError as error:
        return None, f"{no_counter} and no power sensor ({error})"
    integrator = PowerIntegrator(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000, limit_w=_limit_w(nvml, handle))
    poll_in_background(integrator)
    return integrator, ""


def _limit_w(nvml: Nvml, handle: Any) -> float | None:
    """The most power that the board lets itself draw."""
    try:
        limit_w = nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
    except nvml.NVMLError:
        return None
    return limit_w if 0 < limit_w <= MOST_W else None


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
    uuids = [_uuid(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
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
        number = _whole(name)
        if number is not None and number < len(uuids):
            chosen.append(number)
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
    rank, ranks = (_whole(environment.get(name, "")) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if rank is None or ranks is None or not rank < ranks <= len(visible):
        return visible
    return visible[rank::ranks]


def _whole(text: str) -> int | None:
    """The number that a variable of the environment says; ``int`` would take other scripts' digits, or raise."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _uuid(nvml: Nvml, index: int) -> str:
    """A GPU's UUID; empty for one that is lost, which must not take the healthy ones with it."""
    try:
        return nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError:
        return ""


def _is_partitioned(nvml: Nvml, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # most GPUs cannot be partitioned and say so in this way
        return False
