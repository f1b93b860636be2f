"""What a search does next: which candidates to train, which to end, and which never to begin."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lichen.carbon.words import energy_text
from lichen.selection.types import Candidate, Decision, Direction, Limits


def decide(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
    """What to do next, by all that is known of ``candidates``: a pure function, whatever their order.

    ``free`` places can take one more training each. Refused are waiting candidates that cannot keep the ``limits``;
    the others start with the cheapest. A running candidate is stopped when its forecast leaves them. Without a finished
    candidate, no forecast stops the last one that could become one.
    """
    del direction
    ordered = sorted(candidates, key=lambda candidate: (_middle_j(candidate), candidate.name))
    waiting = [candidate for candidate in ordered if candidate.state == "waiting"]
    running = [candidate for candidate in ordered if candidate.state == "running"]
    left_j = math.inf if limits.search_j is None else limits.search_j - sum(one.spent_j for one in candidates)
    stop = {one.name: reason for one in running if (reason := _breaks(one, limits))}
    if len(stop) == len(running) and not any(one.state == "finished" for one in candidates):
        kept = next((one for one in running if one.spent_j < _most_j(limits)), None)
        if kept is not None and not waiting:
            del stop[kept.name]
    going = [one for one in running if one.name not in stop]
    refuse = {one.name: reason for one in waiting if (reason := _breaks(one, limits))}
    surely_j = sum(_rest_j(one, "low") for one in going)
    for one in waiting:
        if one.name not in refuse and _rest_j(one, "high") > left_j - surely_j:
            most, left = (energy_text(joules) for joules in (_rest_j(one, "high"), max(0.0, left_j - surely_j)))
            refuse[one.name] = f"its training may take {most}, and {left} are left for the search"
    promised_j = sum(_rest_j(one, "high") for one in going)
    start: list[str] = []
    for one in waiting:
        if one.name in refuse or len(start) >= free or promised_j + _rest_j(one, "high") > left_j:
            continue
        start.append(one.name)
        promised_j += _rest_j(one, "high")
    return Decision(tuple(start), stop, refuse)


def _breaks(candidate: Candidate, limits: Limits) -> str:
    """Which limit a candidate cannot keep, in words; empty where it can."""
    cost, memory = candidate.cost_j, candidate.peak_memory_bytes
    if limits.peak_memory_bytes is not None and memory is not None and memory > limits.peak_memory_bytes:
        return f"it takes {memory / 1e9:.3g} GB of memory, more than the {limits.peak_memory_bytes / 1e9:.3g} allowed"
    if limits.candidate_j is not None and cost is not None and cost.low > limits.candidate_j:
        return f"it costs at least {energy_text(cost.low)}, more than the {energy_text(limits.candidate_j)} allowed"
    return ""


def _rest_j(candidate: Candidate, end: str) -> float:
    """What training it still takes, at the low or the high end of its forecast; 0 where that is not known."""
    if candidate.training_j is None:
        return 0.0
    done_j = candidate.spent_j if candidate.state == "running" else 0.0
    return max(0.0, (candidate.training_j.low if end == "low" else candidate.training_j.high) - done_j)


def _middle_j(candidate: Candidate) -> float:
    """What it costs, in one figure; infinite where that is not known."""
    cost = candidate.cost_j
    if cost is None:
        return math.inf
    return (cost.low + cost.high) / 2 if cost.estimate is None else cost.estimate


def _most_j(limits: Limits) -> float:
    return math.inf if limits.candidate_j is None else limits.candidate_j
