"""Draws synthetic images: image i is a pure function of (checkpoint, sampler, seed, i)."""

from lichen.sampling.draw import decode_images, draw_latents, draw_samples, images_drawn
from lichen.sampling.folder import missing_samples, sample_name

__all__ = ["decode_images", "draw_latents", "draw_samples", "images_drawn", "missing_samples", "sample_name"]
