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

    from lichen.measuring import Measurement

__version__ = "0.1.0"
__all__ = ["measure"]


def measure(
    name: str,
    *,
    grid: str | None = None,
    month: int | None = None,
    pue: float | None = None,
    done: Callable[[Measurement], None] | None = None,
) -> Measurement:
    """Measure the energy of a block of code, or with ``done`` of each call of a decorated function.

    ``grid``, ``month`` and ``pue`` say where the electricity comes from, as in ``lichen.carbon``; an unknown place
    gives a range. The result is a context manager with ``energy``, ``carbon_g`` and ``sources`` once the block has
    ended. Raises CarbonError for an unknown place or an impossible month.
    """
    from lichen.measuring import Measurement

    return Measurement.at(grid, month, name=name, pue=pue, done=done)
