"""Networks, one per file, 2D or 3D by ``spatial_dims``. They know nothing of data or training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lichen.models.reversible.gradients import check_gradients
    from lichen.models.reversible.unet import ReversibleUNet

__all__ = ["ReversibleUNet", "check_gradients"]


def __getattr__(name: str) -> Any:
    """The public names, imported where they are first used: they need torch."""
    if name == "ReversibleUNet":
        from lichen.models.reversible.unet import ReversibleUNet

        return ReversibleUNet
    if name == "check_gradients":
        from lichen.models.reversible.gradients import check_gradients

        return check_gradients
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
