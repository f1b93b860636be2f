"""All jobs of a study, several at once. What is finished is left alone; what fails does not keep the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lichen.errors import RunError
from lichen.studies.jobs import Job, Started, is_busy, said_its_verdict

POLL_S = 0.2
"""How long to wait for each running process in turn."""
ELSEWHERE_S = 1.0
"""How long to wait where all that is left is worked on by other processes."""


@dataclass(frozen=True)
class Ended:
    """A job that this process brought to an end."""

    job: Job
    seconds: float
    problem: str | None
    """What went wrong; None where nothing did."""


def run_jobs(
    jobs: Iterable[Job], *, at_once: int, threads: int, ended: Callable[[Ended], None], waiting: Callable[[], None]
) -> tuple[Ended, ...]:
    """Work on ``jobs`` that are not finished, ``at_once`` at a time with ``threads`` each; return those that failed.

    ``ended`` is told of each that this process ended, ``waiting`` is called in between. Jobs that another process works
    on, another runner's or one left over from a killed runner, are waited for and not started.
    """
    left = [job for job in jobs if not job.is_finished()]
    active: list[tuple[Started, float]] = []
    failed: list[Ended] = []
    try:
        while left or active:
            for job in list(left):
                if len(active) >= at_once:
                    break
                if job.is_finished():
                    left.remove(job)
                elif not is_busy(job) and (begun := _begin(job, threads)) is not None:
                    left.remove(job)
                    active.append((begun, time.monotonic()))
            if not active:
                time.sleep(ELSEWHERE_S)
            for started, since_s in list(active):
                code = started.ended(POLL_S)
                if code is None:
                    continue
                active.remove((started, since_s))
                job = started.job
                if not job.is_finished() and is_busy(job):  # another runner was a moment faster
                    left.append(job)
                    continue
                problem = None if said_its_verdict(code) and job.is_finished() else f"{job.last_words()} (code {code})"
                found = Ended(job, time.monotonic() - since_s, problem)
                failed += [found] if problem else []
                ended(found)
            waiting()
    finally:
        for started, _ in active:
            started.stop()
    return tuple(failed)


def _begin(job: Job, threads: int) -> Started | None:
    try:
        return job.start(threads)
    except RunError:  # another runner was a moment faster
        return None
