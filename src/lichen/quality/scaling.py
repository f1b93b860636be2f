"""Features brought to one scale, so that none counts for its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def standardisation(
    reference: NDArray[np.float64],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """What brings features (n, d) to mean 0 and standard deviation 1 over the ``reference`` images (m, d).

    Features that are the same in all of these are left out; None if that is all of them, or if some are no numbers.
    """
    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    varies = spread > 1e-6 * np.abs(mean)
    if not (varies.any() and np.isfinite(reference).all()):
        return None
    return lambda features: np.asarray((features[:, varies] - mean[varies]) / spread[varies], dtype=np.float64)
