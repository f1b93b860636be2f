"""Draws synthetic images: image i is a pure function of (checkpoint, sampler, seed, i)."""

from lichen.sampling.draw import decode_images, draw_images, draw_latents, draw_samples, images_drawn
from lichen.sampling.folder import begun_settings, drawn_with, how_drawn, missing_samples, sample_name
from lichen.sampling.tuned import Tuned, read_tuned

__all__ = [
    "Tuned",
    "begun_settings",
    "decode_images",
    "draw_images",
    "draw_latents",
    "draw_samples",
    "drawn_with",
    "how_drawn",
    "images_drawn",
    "missing_samples",
    "read_tuned",
    "sample_name",
]
