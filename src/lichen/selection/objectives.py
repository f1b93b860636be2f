"""Quality and cost in one figure, and what stands for cost: published objectives and rank correlations.

The scalar objective is Selvan's (MIDL 2021), PePR that of Selvan and colleagues (NLDL 2025, arXiv 2403.12562).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from lichen.carbon import Intensity, Range, grams
from lichen.selection.facts import middle
from lichen.selection.front import Configuration
from lichen.selection.types import Candidate, Direction
from lichen.statistics import Interval, rank_correlation

G_PER_KG = 1e3
PROXIES: Mapping[str, Callable[[Candidate], float | None]] = {
    "parameters": lambda each: None if each.parameters is None else float(each.parameters),
    "operations": lambda each: each.training_flop,
    "time": lambda each: each.training_s,
}
"""What is quoted in place of joules, of a candidate."""


def scalar_objective(loss: float, carbon_g: Range, beta: float) -> Range:
    """loss + beta * C, with C in kilograms of CO2e (Selvan, MIDL 2021): less is better.

    A range where C is one: without an estimate where the place of C is unknown.
    """
    cost = carbon_g.times(beta / G_PER_KG)
    return Range(loss, loss, loss) + cost


def loss_of(quality: float, direction: Direction) -> float:
    """1 - quality of a share such as Dice, that is the larger the better; a distance is a loss itself."""
    return 1 - quality if direction == "higher" else quality


def pepr(resource: float, performance: float) -> float:
    """PePR(R, P) = P / (1 + R), with both from 0 to 1: from P / 2, at the largest cost, to P, at the smallest.

    Raises ValueError for a figure that is not from 0 to 1.
    """
    if not (0 <= resource <= 1 and 0 <= performance <= 1):
        raise ValueError(f"PePR takes figures from 0 to 1, not R {resource} and P {performance}")
    return performance / (1 + resource)


def scaled(costs: Sequence[float]) -> tuple[float, ...]:
    """``costs`` from 0, the least of them, to 1, the most: PePR's R, which so depends on who is compared.

    All 0 where they are equal.
    """
    least, most = min(costs, default=0.0), max(costs, default=0.0)
    return tuple((cost - least) / (most - least) if most > least else 0.0 for cost in costs)


def objectives(
    among: Sequence[Configuration], direction: Direction, beta: float, place: Intensity, pue: float | None
) -> tuple[tuple[Range | None, float | None], ...]:
    """(scalar objective, PePR) of each; None for a configuration without quality or cost.

    PePR's P is the quality where that is a share such as Dice, the larger the better. A distance has no upper end and
    is no P: there is no PePR then. R is scaled over those that break no limit; for the others there is none, either.
    """
    costs = [each.point[0] for each in among if not each.why_not]
    resources = iter(scaled(costs))
    found: list[tuple[Range | None, float | None]] = []
    for each in among:
        resource = None if each.why_not else next(resources)
        quality, cost_j = each.quality.estimate, each.cost_j
        if quality is None or cost_j is None:
            found.append((None, None))
            continue
        carbon_g = grams((cost_j.low, cost_j.estimate, cost_j.high), place, pue)
        is_share = direction == "higher" and 0 <= quality <= 1
        score = pepr(resource, quality) if is_share and resource is not None else None
        found.append((scalar_objective(loss_of(quality, direction), carbon_g, beta), score))
    return tuple(found)


def least_objective(values: Sequence[Range | None]) -> tuple[int, ...]:
    """Which of them is the least: one, or several where that depends on the unknown within the ranges.

    The place, and what a meter misses, are the same for all of them: their low ends go together, and so do their high
    ends and what is between, which is a straight line from one to the other.
    """
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if not known:
        return ()
    if all(value.estimate is not None for _, value in known):
        return (min(known, key=lambda pair: middle(pair[1]))[0],)
    steps = [share / 100 for share in range(101)]
    return tuple(
        dict.fromkeys(
            min(known, key=lambda pair: pair[1].low + step * (pair[1].high - pair[1].low))[0] for step in steps
        )
    )


def proxies(among: Sequence[Configuration]) -> dict[str, Interval]:
    """Spearman's correlation of each of ``PROXIES`` with the joules of training, over configurations.

    A configuration counts once, with the mean of its trained seeds; those of which either is unknown are left out.
    """
    joules = [_mean(each, lambda c: None if c.training_j is None else middle(c.training_j)) for each in among]
    return {name: rank_correlation([_mean(each, of) for each in among], joules) for name, of in PROXIES.items()}


def _mean(configuration: Configuration, of: Callable[[Candidate], float | None]) -> float | None:
    known = [value for each in configuration.trained if (value := of(each)) is not None]
    return fmean(known) if known else None
