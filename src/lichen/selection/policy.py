"""What a search does next: which candidates to train, which to end, and which never to begin."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from lichen.carbon.words import energy_text
from lichen.selection.judging import Judgement, judge, key, middle_j
from lichen.selection.types import Candidate, Decision, Direction, Limits


def decide(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
    """What to do next, by all that is known of ``candidates``: a pure function, whatever their order.

    ``free`` places can take one more training each. Of waiting candidates those are refused that cannot keep the
    ``limits``, or that are dominated with high probability: a finished one surely costs less, and it is unlikely
    that this one is better by more than a negligible amount (``judging``). The others start, at first the cheapest of
    each configuration, because joules buy most knowledge there (as the lowest rungs of Hyperband: Li et al., JMLR
    2018); with configurations enough to judge by, in the order of the expected improvement of the front (Jones,
    Schonlau and Welch 1998) per joule (per second in Snoek, Larochelle and Adams, NeurIPS 2012).

    A running candidate is stopped when its forecast leaves the limits, or when its curve, extrapolated (Domhan,
    Springenberg and Hutter, IJCAI 2015), says that it will end dominated. While none is finished, the last one that
    could be goes on whatever its forecast: it ends with a limit that is spent, not with one that will be.
    """
    ordered = sorted(candidates, key=lambda one: (middle_j(one), one.name))
    judgement = judge(ordered, direction, limits)
    stop = _to_stop(ordered, judgement, limits)
    refuse = _to_refuse(ordered, judgement, limits)
    going = [one for one in ordered if one.state == "running" and one.name not in stop]
    waiting = [one for one in ordered if one.state == "waiting" and one.name not in refuse]
    left_j = _left_j(ordered, limits) - sum(_most_j(one) for one in going)
    start: list[str] = []
    for one in _in_order(waiting, going, judgement):
        if len(start) < free and _most_j(one) <= left_j:
            start.append(one.name)
            left_j -= _most_j(one)
    if waiting and free > 0 and not (going or start or judgement.finished):
        start.append(min(waiting, key=lambda one: (_least_j(one), one.name)).name)
    return Decision(tuple(start), stop, refuse)


def _to_stop(ordered: Sequence[Candidate], judgement: Judgement, limits: Limits) -> dict[str, str]:
    """Running candidates to end, and why; the cheapest is the last to leave the budget of the search."""
    running = [one for one in ordered if one.state == "running"]
    facts = {one.name: reason for one in running if (reason := _broken(one, ordered, limits))}
    stop = facts | {
        one.name: reason
        for one in running
        if one.name not in facts and (reason := _cannot_keep(one, limits) or judgement.dominated(one))
    }
    left_j = _left_j(ordered, limits)
    for one in running:
        if one.name in stop:
            continue
        if _least_j(one) > left_j:
            stop[one.name] = _over(_least_j(one), "at least", left_j)
        else:
            left_j -= _least_j(one)
    hopes = [one for one in running if one.name not in facts]
    others = [one for one in ordered if one.state == "waiting" and not _cannot_keep(one, limits)]
    if hopes and all(one.name in stop for one in hopes) and not others and not judgement.finished:
        del stop[hopes[0].name]
    return stop


def _to_refuse(ordered: Sequence[Candidate], judgement: Judgement, limits: Limits) -> dict[str, str]:
    """Waiting candidates never to be trained, and why; once one is finished, nothing may break the search's limit.

    What running ones will take is not held against the waiting: they may end early.
    """
    left_j = _left_j(ordered, limits)
    need_j, edge = (_most_j, "up to") if judgement.finished else (_least_j, "at least")
    refuse: dict[str, str] = {}
    for one in ordered:
        if one.state != "waiting":
            continue
        reason = _cannot_keep(one, limits) or judgement.dominated(one)
        if not reason and need_j(one) > left_j:
            reason = _over(need_j(one), edge, left_j)
        if reason:
            refuse[one.name] = reason
    return refuse


def _in_order(waiting: Sequence[Candidate], going: Sequence[Candidate], judgement: Judgement) -> list[Candidate]:
    """The most promising first; of one configuration, and beside running repetitions of it, one after the other."""
    if len(judgement.observed) >= judgement.least:
        waiting = sorted(waiting, key=judgement.promise, reverse=True)
        times = Counter(key(one.settings) for one in going)
    else:
        times = Counter(key(one.settings) for one in going) + Counter(judgement.observed)
    turns: list[int] = []
    for one in waiting:
        turns.append(times[key(one.settings)])
        times[key(one.settings)] += 1
    return [one for _, _, one in sorted(zip(turns, range(len(turns)), waiting, strict=True))]


def _cannot_keep(candidate: Candidate, limits: Limits) -> str:
    """Which limit a candidate cannot keep by its forecast, in words; empty where it can."""
    cost, memory = candidate.cost_j, candidate.peak_memory_bytes
    if limits.peak_memory_bytes is not None and memory is not None and memory > limits.peak_memory_bytes:
        return f"it takes {memory / 1e9:.3g} GB of memory, and {limits.peak_memory_bytes / 1e9:.3g} GB are allowed"
    if limits.candidate_j is not None and cost is not None and cost.low > limits.candidate_j:
        return f"it costs {energy_text(cost.low)} at least, and {energy_text(limits.candidate_j)} are allowed"
    return ""


def _broken(candidate: Candidate, ordered: Sequence[Candidate], limits: Limits) -> str:
    """Which limit is broken already, whatever is still to come; empty where none is."""
    if limits.candidate_j is not None and candidate.spent_j > limits.candidate_j:
        return f"it has taken {energy_text(candidate.spent_j)}, and {energy_text(limits.candidate_j)} are allowed"
    if limits.search_j is not None and _left_j(ordered, limits) <= 0:
        return f"the search has taken all of its {energy_text(limits.search_j)}"
    return ""


def _over(need_j: float, edge: str, left_j: float) -> str:
    return (
        f"its training takes {edge} {energy_text(need_j)}, and {energy_text(max(0.0, left_j))} of the search are left"
    )


def _left_j(candidates: Sequence[Candidate], limits: Limits) -> float:
    """What the search may still spend."""
    spent_j = math.fsum(one.spent_j for one in candidates)
    return math.inf if limits.search_j is None else limits.search_j - spent_j


def _most_j(candidate: Candidate) -> float:
    """What training it still takes at most; 0 where that is not known."""
    return _rest(candidate, math.inf if candidate.training_j is None else candidate.training_j.high)


def _least_j(candidate: Candidate) -> float:
    """What training it still takes at least."""
    return _rest(candidate, 0.0 if candidate.training_j is None else candidate.training_j.low)


def _rest(candidate: Candidate, whole_j: float) -> float:
    if candidate.training_j is None:
        return 0.0
    return max(0.0, whole_j - (candidate.spent_j if candidate.state == "running" else 0.0))
