"""How far the gradients of the reversible U-Net are from ordinary autograd's, by depth and precision.

Beside it stands how far ordinary fp32 gradients are from fp64 ones: what rounding alone does.
"""

from __future__ import annotations

import torch
from report import write_results
from torch import Tensor

from lichen.models import ReversibleUNet, check_gradients
from lichen.models.layout import set_layout
from lichen.models.reversible.chain import Coupling

SETTINGS = {  # name: (dtype, bf16 branches, grid, weights in channels last)
    "fp64": (torch.float64, False, None, False),
    "fp32": (torch.float32, False, None, False),
    "bf16 branches": (torch.float32, True, None, False),
    "fp32, grid": (torch.float32, False, 2**-12, False),
    "bf16 branches, grid": (torch.float32, True, 2**-12, False),
    "fp32, grid, channels last": (torch.float32, False, 2**-12, True),
    "bf16 branches, grid, channels last": (torch.float32, True, 2**-12, True),
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


def rounding(dims: int, blocks: int) -> str:
    """How far ordinary autograd in fp32 is from itself in fp64, for the same network."""
    found: list[list[Tensor]] = []
    for dtype in (torch.float32, torch.float64):
        made, (x, timesteps) = network(dims, blocks, None).to(dtype), images(dims, dtype)
        made.invert = False
        leaves = [x.requires_grad_(), *made.parameters()]
        output = made(x, timesteps)
        towards = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
        found.append([gradient.double() for gradient in torch.autograd.grad(output, leaves, towards)])
    whole, exact = (torch.cat([gradient.flatten() for gradient in each]) for each in found)
    largest = max(float((one - other).norm() / other.norm()) for one, other in zip(*found, strict=True))
    return told(float((whole - exact).norm() / exact.norm()), largest)


def told(whole: float, largest: float) -> str:
    """Both measures of a difference."""
    return f"{whole:.1e} ({largest:.1e})"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dims in (2, 3):
        for blocks in BLOCKS:
            couplings = sum(isinstance(module, Coupling) for module in network(dims, blocks, None).modules())
            cells = []
            for dtype, bf16, grid, channels_last in SETTINGS.values():
                made = network(dims, blocks, grid).to(dtype)
                if channels_last:
                    set_layout(made, torch.channels_last if dims == 2 else torch.channels_last_3d)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    found = check_gradients(made, *images(dims, dtype))
                cells.append("bitwise equal" if found.bitwise else told(found.whole, found.largest))
            rows.append([f"{dims}-D", str(couplings), rounding(dims, blocks), *cells])
    write_results(
        __file__,
        ["", "couplings", "rounding of fp32", *SETTINGS],
        rows,
        "|difference| / |gradient|, Euclidean norms: of the whole gradient, all parameters and the input as one "
        "vector; in brackets the largest of any single tensor, mostly a bias, a norm or a time projection of the first "
        "steps, which are recomputed last. Recomputed gradients are compared with ordinary autograd's; the rounding of "
        "fp32 is ordinary autograd's in fp32 compared with itself in fp64. Two levels of 8 and 16 channels on 8 voxels "
        "per axis, weights with noise of 0.05 added.",
    )


if __name__ == "__main__":
    main()
