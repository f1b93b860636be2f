"""What a search does next: which candidates to train, which to end, and which never to begin."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from lichen.carbon.words import energy_text
from lichen.selection.facts import key, middle, middle_j
from lichen.selection.judging import Judgement, judge
from lichen.selection.types import Candidate, Decision, Direction, Limits


class Policy(Protocol):
    """What decides: one of those here, or a baseline of ``replay``."""

    def __call__(self, candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
        """What to do next; ``free`` places can take one more training each."""


def decide(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
    """What to do next, by all that is known of ``candidates``: a pure function, whatever their order.

    ``free`` places can take one more training each. Of waiting candidates those are refused that cannot keep the
    ``limits``, or that are dominated with high probability: a finished one surely costs less, and it is unlikely
    that this one is better by more than a negligible amount (``judging``). The others start, at first the cheapest of
    each configuration, because joules buy most knowledge there (as the lowest rungs of Hyperband: Li et al., JMLR
    2018); with configurations enough to judge by, in the order of the expected improvement of the front (Jones,
    Schonlau and Welch 1998) per joule (per second in Snoek, Larochelle and Adams, NeurIPS 2012). What is not worth what
    it adds to the cost of the search waits; when nothing else is left, the search ends.

    A running candidate is stopped when its forecast leaves the limits, or when its curve, extrapolated (Domhan,
    Springenberg and Hutter, IJCAI 2015), says that it will end dominated. While none is finished, the last one that
    could be goes on whatever its forecast: it ends with a limit that is spent, not with one that will be.
    """
    ordered = sorted(candidates, key=lambda one: (middle_j(one), one.name))
    judgement = judge(ordered, direction, limits)
    stop = _to_stop(ordered, judgement, limits)
    refuse = _to_refuse(ordered, limits, judgement.dominated, some_done=bool(judgement.finished))
    going = [one for one in ordered if one.state == "running" and one.name not in stop]
    waiting = [one for one in ordered if one.state == "waiting" and one.name not in refuse]
    spent_j = math.fsum(one.spent_j for one in ordered)
    worth = [one for one in waiting if judgement.worthwhile(one, spent_j)]
    if not (going or worth):
        refuse |= {one.name: _too_dear(one, spent_j) for one in waiting}
    left_j = _left_j(ordered, limits) - sum(_most_j(one) for one in going)
    start = _to_start(_in_order(worth, going, judgement), left_j, free)
    if waiting and free > 0 and not (going or start or judgement.finished):
        start = [min(waiting, key=lambda one: (_least_j(one), one.name)).name]
    return Decision(tuple(start), stop, refuse)


def exhaust(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
    """Train every candidate to its end, the cheapest first: what cannot keep the ``limits`` is refused, nothing else.

    None is stopped, whatever its curve says: this is what ``decide`` is measured against, and how a whole grid is had.
    """
    del direction
    ordered = sorted(candidates, key=lambda one: (middle_j(one), one.name))
    some_done = any(one.state == "finished" for one in ordered)
    refuse = _to_refuse(ordered, limits, lambda _: "", some_done=some_done)
    going = [one for one in ordered if one.state == "running"]
    waiting = [one for one in ordered if one.state == "waiting" and one.name not in refuse]
    start = _to_start(waiting, _left_j(ordered, limits) - sum(_most_j(one) for one in going), free)
    if waiting and free > 0 and not (going or start or some_done):
        start = [min(waiting, key=lambda one: (_least_j(one), one.name)).name]
    return Decision(tuple(start), {}, refuse)


def _to_start(waiting: Sequence[Candidate], left_j: float, free: int) -> list[str]:
    """As many of those in order as there are places, as far as what is left of the search's limit goes."""
    start: list[str] = []
    for one in waiting:
        if len(start) < free and _most_j(one) <= left_j:
            start.append(one.name)
            left_j -= _most_j(one)
    return start


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


def _to_refuse(
    ordered: Sequence[Candidate], limits: Limits, dominated: Callable[[Candidate], str], *, some_done: bool
) -> dict[str, str]:
    """Waiting candidates never to be trained, and why; once one is finished, nothing may break the search's limit.

    What running ones will take is not held against the waiting: they may end early.
    """
    left_j = _left_j(ordered, limits)
    need_j, edge = (_most_j, "up to") if some_done else (_least_j, "at least")
    refuse: dict[str, str] = {}
    for one in ordered:
        if one.state != "waiting":
            continue
        reason = _cannot_keep(one, limits) or dominated(one)
        if not reason and need_j(one) > left_j:
            reason = _over(need_j(one), edge, left_j)
        if reason:
            refuse[one.name] = reason
    return refuse


def _in_order(waiting: Sequence[Candidate], going: Sequence[Candidate], judgement: Judgement) -> list[Candidate]:
    """The most promising first; of one configuration, and beside running repetitions of it, one after the other."""
    if judgement.knows_enough:
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


def _too_dear(candidate: Candidate, spent_j: float) -> str:
    """Why a candidate that may be better is not trained all the same, in words."""
    assert candidate.training_j is not None, "what has no known cost is worth it"
    return (
        f"it costs {energy_text(middle(candidate.training_j))}, the search has taken {energy_text(spent_j)}, and what "
        "it is expected to gain is not worth that"
    )


def _over(need_j: float, edge: str, left_j: float) -> str:
    left = f"{energy_text(left_j)} of the search are left" if left_j > 0 else "the search's budget is spent"
    return f"its training takes {edge} {energy_text(need_j)}, and {left}"


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
