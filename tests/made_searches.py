"""Families of candidates with known truth: networks of growing width whose curves saturate, costs and seeds made up."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lichen.carbon import Range
from lichen.selection.replay import Recorded
from lichen.selection.types import Candidate, CurvePoint, Measured

Kind = Literal["saturating", "largest", "smallest", "noise"]
KINDS: tuple[Kind, ...] = ("saturating", "largest", "smallest", "noise")
WIDTHS = (4, 8, 16, 24, 32, 48, 64)


def made_search(kind: Kind, seed: int, *, seeds: int = 1, noise: float = 0.005) -> list[Recorded]:
    """A grid of widths and seeds. Best is a middle width or one of the last, the largest, the smallest, or no width."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    x = np.log2(np.array(WIDTHS) / 4) / 4
    gain = rng.uniform(0.02, 0.08)
    truth = {
        "saturating": lambda: gain * (1 - np.exp(-rng.uniform(3, 8) * x)) - rng.uniform(0, 0.01) * x**2,
        "largest": lambda: gain * x,
        "smallest": lambda: -gain * x,
        "noise": lambda: 0 * x,
    }[kind]()
    top, floor, rate = rng.uniform(0.7, 0.85), rng.uniform(0.2, 0.6), np.exp(rng.uniform(1.0, 2.2))
    power = rng.uniform(1.5, 2.0)
    found = []
    for width, quality in zip(WIDTHS, truth, strict=True):
        for repetition in range(seeds):
            end = top + quality + noise * rng.standard_normal()
            cost_j = 1000 * (width / 4) ** power * np.exp(0.08 * rng.standard_normal())
            t = np.arange(1, 31) / 30
            shape = 0.7 * np.exp(-2 * rate * t) + 0.3 * np.exp(-rate * np.exp(0.2 * rng.standard_normal()) * t)
            points = end - (end - floor) * shape + 0.4 * noise * rng.standard_normal(len(t))
            curve = tuple(CurvePoint(float(cost_j * a), float(b)) for a, b in zip(t, points, strict=True))
            test = float(points.max() + 0.4 * noise * rng.standard_normal())
            cost = Range(cost_j / 2, cost_j, cost_j * 3)
            whole = Candidate(
                name=f"width-{width:02d}-seed-{repetition}",
                settings={"segmenter.width": float(width)},
                seed=repetition,
                state="finished",
                training_j=cost,
                synthesis_j=None,
                spent_j=float(cost_j),
                curve=curve,
                found=Measured(test, test - 0.02, test + 0.02, float(cost_j)),
                cut=None,
                training_s=float(cost_j / 10),
                parameters=width**2,
                training_flop=float(cost_j),
                peak_memory_bytes=None,
                copy_rate=None,
                reason="",
            )
            off = np.exp(0.1 * rng.standard_normal())
            forecast = Range(cost.low * off / 1.2, cost_j * off, cost.high * off * 1.2)
            found.append(Recorded(whole, forecast, float(0.01 * cost_j)))
    return found
