"""lichen: train generative models of medical images, know what they cost, and whose images are in the output.

Importing this package loads no torch; each room (``lichen.images``, ``lichen.diffusion``, ``lichen.energy``,
``lichen.carbon``, ``lichen.audit``, ...) is imported on its own.
"""

__version__ = "0.1.0"
