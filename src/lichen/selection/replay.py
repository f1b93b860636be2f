"""Policies played over candidates that were all trained once: what each would have trained, spent and taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lichen.carbon import Range
from lichen.seeds import mix_seed
from lichen.selection.facts import Key, key, middle_j
from lichen.selection.judging import goodness
from lichen.selection.policy import Policy
from lichen.selection.types import Candidate, Decision, Direction, Limits


@dataclass(frozen=True)
class Recorded:
    """A candidate that was trained to its end, and what was known of it before."""

    whole: Candidate
    """Finished, with its curve, its measured cost and what it found."""
    forecast_j: Range
    """Of its training, before it."""
    probe_j: float
    """What that forecast took; it is spent on every candidate, trained or not."""


@dataclass(frozen=True)
class Played:
    """What a policy did."""

    taken: str | None
    """The finished candidate that is best on the images that choose; None: none was finished."""
    regret: float | None
    """How much worse its settings are than the best of all, seeds averaged; None where nothing was taken."""
    spent_j: float
    """On trainings, probes included."""
    share: float
    """Of what training all to the end takes."""
    trained: Mapping[str, float]
    """The share of its training that each candidate had that was begun."""


def replay(
    recorded: Sequence[Recorded],
    policy: Policy,
    direction: Direction,
    limits: Limits | None = None,
    *,
    places: int = 1,
    worth: Mapping[Key, float] | None = None,
) -> Played:
    """Play ``policy`` over ``recorded`` candidates with so many ``places`` to train in, one validation after another.

    The running candidate that has had the smallest share of its training goes on to its next validation; the last one
    finishes it. What the policy is shown of a candidate is what a search would know then: its forecast until it is
    finished. ``worth`` is the quality of each configuration (``worths``), of these candidates if not given.

    Raises ValueError where a candidate has no curve, no measured cost or nothing found.
    """
    for one in recorded:
        if not one.whole.curve or one.whole.training_j is None or one.whole.found is None:
            raise ValueError(f"{one.whole.name} cannot be replayed: it lacks its curve, its cost or what it found")
    worth = worths([one.whole for one in recorded], direction) if worth is None else worth
    by_name = {one.whole.name: one for one in recorded}
    now = {name: _before(one) for name, one in by_name.items()}
    while True:
        running = [one for one in now.values() if one.state == "running"]
        said = policy(list(now.values()), direction, limits or Limits(), free=places - len(running))
        now |= {name: replace(now[name], state="stopped", reason=reason) for name, reason in said.stop.items()}
        now |= {name: replace(now[name], state="refused", reason=reason) for name, reason in said.refuse.items()}
        now |= {name: replace(now[name], state="running") for name in said.start}
        running = [one for one in now.values() if one.state == "running"]
        if not running and (said.stop or said.refuse):
            continue  # places have become free
        if not running:
            break
        nearest = min(running, key=lambda one: (_share(one, by_name[one.name]), one.name))
        now[nearest.name] = _next(nearest, by_name[nearest.name])
    return _played(now, by_name, direction, worth)


def worths(candidates: Sequence[Candidate], direction: Direction) -> dict[Key, float]:
    """The goodness of each configuration: the mean over its seeds of what was found, higher being better."""
    sign = 1.0 if direction == "higher" else -1.0
    groups: dict[Key, list[float]] = {}
    for one in candidates:
        if one.found is not None:
            groups.setdefault(key(one.settings), []).append(sign * one.found.quality)
    return {found: float(np.mean(values)) for found, values in groups.items()}


def cheapest_first(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
    """Train in the order of costs, as far as the search's limit goes."""
    del direction
    return _in_turn(sorted(candidates, key=lambda one: (middle_j(one), one.name)), limits, free)


def at_random(seed: int) -> Policy:
    """Train whatever comes, in an order drawn by ``seed``, as far as the search's limit goes."""

    def policy(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
        del direction
        return _in_turn(sorted(candidates, key=lambda one: mix_seed(seed, "order", one.name)), limits, free)

    return policy


def successive_halving(eta: float = 2.0) -> Policy:
    """All side by side; at each rung the best 1 / eta go on (Jamieson and Talwalkar, AISTATS 2016).

    Rungs are shares of each candidate's own training, eta apart, the last but one at 1 / eta; give it as many places as
    there are candidates.
    """

    def policy(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
        rungs = math.ceil(math.log(len(candidates), eta))
        alive = [one for one in candidates if one.state in {"waiting", "running", "finished"}]
        stop: dict[str, str] = {}
        for rung in range(rungs):
            keep = max(1, math.ceil(len(candidates) / eta ** (rung + 1)))
            share = eta ** (rung - rungs)
            if len(alive) <= keep or any(_had(one) < share for one in alive):
                continue
            ranked = sorted(alive, key=lambda one: (-(goodness(one, direction) or -math.inf), one.name))
            stop |= {one.name: f"not among the best {keep} at rung {rung}" for one in ranked[keep:]}
            alive = ranked[:keep]
        started = _in_turn(sorted(candidates, key=lambda one: one.name), limits, free).start
        return Decision(started, stop, {})

    return policy


def _had(candidate: Candidate) -> float:
    """The share of its training that a candidate has had, by its forecast."""
    if candidate.state == "finished":
        return 1.0
    return candidate.curve[-1].spent_j / _training_j(candidate) if candidate.curve else 0.0


def _in_turn(ordered: Sequence[Candidate], limits: Limits, free: int) -> Decision:
    left_j = math.inf if limits.search_j is None else limits.search_j - sum(one.spent_j for one in ordered)
    left_j -= sum(_training_j(one) - one.spent_j for one in ordered if one.state == "running")
    start: list[str] = []
    for one in ordered:
        if one.state == "waiting" and len(start) < free and _training_j(one) <= left_j:
            start.append(one.name)
            left_j -= _training_j(one)
    return Decision(tuple(start), {}, {})


def _training_j(candidate: Candidate) -> float:
    """The middle of its training's cost."""
    return middle_j(replace(candidate, synthesis_j=None))


def _before(one: Recorded) -> Candidate:
    """What is known of a candidate that was only probed."""
    unknown = replace(one.whole, state="waiting", training_j=one.forecast_j, spent_j=one.probe_j, curve=(), found=None)
    if one.whole.forecast_synthesis_j is not None:
        unknown = replace(unknown, synthesis_j=one.whole.forecast_synthesis_j)
    return replace(unknown, cut=None, training_s=None, training_flop=None, copy_rate=None, reason="")


def _next(now: Candidate, one: Recorded) -> Candidate:
    """A running candidate one validation later."""
    curve = one.whole.curve[: len(now.curve) + 1]
    if len(curve) == len(one.whole.curve):
        return replace(one.whole, spent_j=_training_j(one.whole) + one.probe_j)
    return replace(now, curve=curve, spent_j=curve[-1].spent_j + one.probe_j)


def _share(now: Candidate, one: Recorded) -> float:
    if now.state == "finished":
        return 1.0
    return now.curve[-1].spent_j / _training_j(one.whole) if now.curve else 0.0


def _played(
    now: Mapping[str, Candidate], by_name: Mapping[str, Recorded], direction: Direction, worth: Mapping[Key, float]
) -> Played:
    finished = [one for one in now.values() if one.state == "finished"]
    taken = max(finished, key=lambda one: (goodness(one, direction) or -math.inf, one.name), default=None)
    regret = None if taken is None else max(worth.values()) - worth[key(taken.settings)]
    spent_j = math.fsum(one.spent_j for one in now.values())
    all_j = math.fsum(_training_j(one.whole) for one in by_name.values())
    trained = {name: _share(one, by_name[name]) for name, one in now.items() if one.curve}
    return Played(None if taken is None else taken.name, regret, spent_j, spent_j / all_j, trained)
