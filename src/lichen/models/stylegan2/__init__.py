"""StyleGAN2 in plain PyTorch: 2D images of any number of channels, no compiled operators, differentiable twice.

Written from the papers: Karras et al., arXiv 1812.04948 (styles), 1912.04958 (StyleGAN2), 2006.06676 (its small form).
"""

from lichen.models.stylegan2.discriminator import build_discriminator
from lichen.models.stylegan2.generator import StyleGenerator, build_generator, truncated
from lichen.models.stylegan2.sizes import check_axes, check_size

__all__ = ["StyleGenerator", "build_discriminator", "build_generator", "check_axes", "check_size", "truncated"]
