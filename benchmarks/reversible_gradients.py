"""How far the gradients of the reversible U-Net are from ordinary autograd's, by depth and precision."""

from __future__ import annotations

import torch
from report import write_results
from torch import Tensor

from lichen.models import ReversibleUNet, check_gradients
from lichen.models.reversible.chain import Coupling

SETTINGS = {  # name: (dtype, bf16 branches, grid)
    "fp64": (torch.float64, False, None),
    "fp32": (torch.float32, False, None),
    "bf16 branches": (torch.float32, True, None),
    "fp32, grid": (torch.float32, False, 2**-12),
    "bf16 branches, grid": (torch.float32, True, 2**-12),
}
BLOCKS = (1, 7, 24)
"""Blocks per level: with two levels, attention in the middle alone, 9, 33 and 101 couplings."""


def network(dims: int, blocks: int, grid: float | None) -> ReversibleUNet:
    torch.manual_seed(0)
    made = ReversibleUNet(dims, 1, 1, (8, 16), None, blocks, (False, False), norm_num_groups=4, grid=grid)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def images(dims: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, *(8,) * dims, generator=generator).to(dtype), torch.tensor([30.0, 700.0])


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dims in (2, 3):
        for blocks in BLOCKS:
            couplings = sum(isinstance(module, Coupling) for module in network(dims, blocks, None).modules())
            cells = []
            for dtype, bf16, grid in SETTINGS.values():
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    found = check_gradients(network(dims, blocks, grid).to(dtype), *images(dims, dtype))
                cells.append("bitwise equal" if found.bitwise else f"{found.largest:.1e}")
            rows.append([f"{dims}-D", str(couplings), *cells])
    write_results(
        __file__,
        ["", "couplings", *SETTINGS],
        rows,
        "Largest over all parameters and the input of |difference| / |ordinary gradient|, Euclidean norms. Two levels "
        "of 8 and 16 channels on 8 voxels per axis, weights with noise of 0.05 added.",
    )


if __name__ == "__main__":
    main()
