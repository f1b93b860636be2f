"""lichen: train generative models of medical images, know what they cost, and whose images are in the output.

    with lichen.measure("train", grid="FR") as cost:
        train()  # anybody's code
    print(cost)

Importing this package loads no torch; each room (``lichen.images``, ``lichen.diffusion``, ``lichen.energy``,
``lichen.carbon``, ``lichen.audit``, ...) is imported on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lichen.measuring import Measurement

__version__ = "0.1.0"
__all__ = ["measure"]


def measure(
    name: str,
    *,
    grid: str | None = None,
    month: int | None = None,
    pue: float | None = None,
    g_per_kwh: float | None = None,
    intensity_file: Path | None = None,
    trace: Path | None = None,
    done: Callable[[Measurement], None] | None = None,
) -> Measurement:
    """Measure the energy of a block of code, or with ``done`` of each call of a decorated function.

    ``grid``, ``month`` and ``pue`` say where the electricity comes from, as in ``lichen.carbon``; an unknown place
    gives a range. ``g_per_kwh`` is a contract's figure instead, ``intensity_file`` a table newer than the packaged one.
    With ``trace``, a file of JSON lines, what was measured survives a crash, and a block that is begun again goes on
    in it. The result is a context manager with ``energy``, ``carbon_g`` and ``sources`` once the block has ended.

    Raises:
        CarbonError: the place is unknown, or a month, PUE or intensity impossible.
    """
    from lichen.measuring import Measurement

    return Measurement.at(
        grid, month, name=name, pue=pue, g_per_kwh=g_per_kwh, intensity_file=intensity_file, trace=trace, done=done
    )
