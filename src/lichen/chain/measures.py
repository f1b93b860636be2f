"""What can be done about memory: each measure as settings, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from lichen.config import DenoiserKind, Precision, RunConfig

Trained = Literal["autoencoder", "denoiser"]
"""The networks of a run that are trained, by the names of their settings."""

AS_IT_IS = "as it is"


def trained_networks(config: RunConfig) -> tuple[Trained, ...]:
    """The networks that a run trains, in order."""
    return ("denoiser",) if config.autoencoder.kind == "none" else ("autoencoder", "denoiser")


def measures(config: RunConfig, network: Trained, *, begun: bool, fast_bf16: bool) -> dict[str, RunConfig]:
    """The ways to train ``network``, by name, each as the settings of the run; the cheapest first.

    Once training has ``begun``, those are left out that would make other weights. Where the hardware has ``fast_bf16``
    that comes before what recomputes, and what recomputes comes with it; elsewhere bf16 comes last, because there it
    costs more than any recomputation.
    """
    ways = {AS_IT_IS: config}
    for name, way in _more(config, network, begun=begun, fast_bf16=fast_bf16):
        if way not in ways.values():
            ways[name] = way
    return ways


def _more(config: RunConfig, network: Trained, *, begun: bool, fast_bf16: bool) -> Iterator[tuple[str, RunConfig]]:
    lower = config.training.precision == "fp32" and not begun
    if not (lower and fast_bf16):
        yield from _recomputing(config, network, begun=begun)
    if lower:
        low = _changed(config, precision="bf16")
        yield "bf16", low
        yield from ((f"bf16 + {name}", way) for name, way in _recomputing(low, network, begun=begun))


def _recomputing(config: RunConfig, network: Trained, *, begun: bool) -> Iterator[tuple[str, RunConfig]]:
    if config.denoiser.kind == "standard" or network == "autoencoder":
        yield "block checkpointing", _changed(config, checkpointed=network)
    if network == "denoiser" and not begun:
        yield "reversible", _changed(config, kind="reversible")


def with_measures(config: RunConfig, before: RunConfig) -> RunConfig:
    """``config`` with the measures that ``before`` had taken."""
    if before.training.precision == "bf16":
        config = _changed(config, precision="bf16")
    if before.denoiser.kind == "reversible":
        config = _changed(config, kind="reversible")
    for network in trained_networks(config):
        recomputes = network == "denoiser" and config.denoiser.kind == "reversible"
        if getattr(before, network).checkpointing and not recomputes:
            config = _changed(config, checkpointed=network)
    return config


def together(ways: dict[Trained, RunConfig], config: RunConfig) -> RunConfig:
    """``config`` with each network's settings from its own way, all of which have one precision."""
    for network, way in ways.items():
        config = replace(config, **{network: getattr(way, network)}, training=way.training)
    return config


def _changed(
    config: RunConfig,
    *,
    precision: Precision | None = None,
    checkpointed: Trained | None = None,
    kind: DenoiserKind | None = None,
) -> RunConfig:
    if precision is not None:
        config = replace(config, training=replace(config.training, precision=precision))
    if kind is not None:
        config = replace(config, denoiser=replace(config.denoiser, kind=kind, checkpointing=False))
    if checkpointed == "autoencoder":
        config = replace(config, autoencoder=replace(config.autoencoder, checkpointing=True))
    if checkpointed == "denoiser":
        config = replace(config, denoiser=replace(config.denoiser, checkpointing=True))
    return config
