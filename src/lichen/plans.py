"""Settings without what does not count: to tell plans of equal cost, and runs of equal outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lichen.config import BudgetConfig, CarbonConfig, RunConfig, SegmentationConfig
from lichen.settings import dump_settings


def plan_of(config: RunConfig) -> RunConfig:
    """Without the settings that change nothing in how long training and synthesis take: plans that cost the same."""
    return replace(
        config,
        images=replace(config.images, split_seed=0),
        denoiser=replace(config.denoiser, dropout=0.0),
        training=replace(config.training, seed=0),
        sampling=replace(config.sampling, seed=0),
        audit=RunConfig().audit,
    )


def comparable(config: RunConfig | SegmentationConfig) -> str:
    """As text, without what changes no figure: where images lie, how fast it goes, at which place, within what."""
    images = replace(config.images, path=None, cache_dir=None)
    training: Any = replace(config.training, threads=None)
    return dump_settings(
        replace(config, images=images, training=training, carbon=CarbonConfig(), budget=BudgetConfig())
    )
