"""A short look at work that repeats: how fast it goes and what it draws.

The work is the real one. It calls a ``Stopwatch`` after each piece, as it would a progress bar, and asks it whether
that was enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lichen.energy.forecast import Block, Pace, pace
from lichen.energy.integrate import energy_between
from lichen.energy.readings import NO_READING, Meter, Reading, total

WARM_UP = 2
"""Pieces that are not timed: buffers are allocated and kernels chosen in them."""
LONG_PIECE_S = 2.0
"""What is allocated and chosen is small beside a first piece this long: one is warm-up enough."""
LEAST_BLOCK_S = 0.1
"""Pieces are added up to blocks of at least this long, so that reading a clock costs nothing."""
LEAST_BLOCKS = 4
LEAST_S = 1.0
"""Time over which power is known: GPU counters step every 100 ms, CPU time every 10 ms."""
ENOUGH_ERROR = 0.01
"""Relative standard error at which nothing is gained by looking longer."""
SHARE = 0.02
"""Of the work that is forecast, as much is spent on looking at it at most, beyond ``LEAST_S``."""
SHARE_OF_LITTLE = 0.2
"""The same of work that takes seconds, which nobody waits ``LEAST_S`` to have forecast."""
MOST_S = 12.0
"""A probe ends after this long; of a piece longer than half of it, the first must do."""


class Stopwatch:
    """Times pieces of work and reads ``meters`` around them; ``synchronise`` waits for a GPU before the clock is read.

    ``after`` is called after each piece, and may end the work by an exception.

    ``planned`` is how many units there are to do in all: little work is looked at shortly.

    watch = Stopwatch(find_meters(), planned=len(images))
    for batch in batches:
        work(batch)
        watch(len(batch))
        if watch.enough():
            break
    found = watch.pace()
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        planned: float,
        *,
        synchronise: Callable[[], None] = lambda: None,
        most_s: float = MOST_S,
        clock: Callable[[], float] = time.perf_counter,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._meters, self._planned = tuple(meters), planned
        self._synchronise, self._most_s, self._clock, self._after = synchronise, most_s, clock, after
        self._warming = WARM_UP
        self._blocks: list[Block] = []
        self._open = 0.0
        self._end: tuple[float, tuple[Reading, ...]] | None = None
        self._units = 0.0
        self._first: tuple[Reading, ...] = ()
        self._first_s = self._since_s = 0.0
        self._start()
        self._begun_s, self._begun = self._first_s, self._first

    def __call__(self, units: float) -> None:
        """So many units of work were just finished; 0 is no work."""
        self._after()
        if not units or self._end is not None:
            return
        self._units += units
        self._open += units
        taken_s = self._clock() - self._since_s
        if self._warming and taken_s < self._most_s / 2:
            self._warming = 0 if taken_s > LONG_PIECE_S else self._warming - 1
            self._open = 0.0
            if not self._warming:
                self._start()
        elif taken_s >= LEAST_BLOCK_S:
            self._warming = 0
            self._close_block()

    def enough(self) -> bool:
        """Whether the pace is known well enough, or has been looked at for long enough."""
        if self._end is None and self._blocks and self._is_enough():
            self._stop()
        return self._end is not None

    def pace(self) -> Pace:
        """What was found; of work that ended within the warm-up, that is all there is to go by.

        Raises ``ValueError`` if nothing was done.
        """
        if self._end is None:
            if self._open:
                self._close_block()
            self._stop()
        assert self._end is not None
        end_s, readings = self._end
        if not self._blocks:
            self._first_s, self._first = self._begun_s, self._begun
            self._blocks = [(self._units, end_s - self._begun_s)] if self._units else []
        energy = total(part.energy for part in energy_between(self._first, readings))
        return pace(self._blocks, energy.scaled(1 / max(end_s - self._first_s, 1e-9)))

    def since_end_s(self) -> float:
        """How long ago it was enough: what came afterwards, e.g. saving. 0 if it was not."""
        return 0.0 if self._end is None else self._clock() - self._end[0]

    def _is_enough(self) -> bool:
        now_s, found = self._clock(), pace(self._blocks, NO_READING)
        expected_s = self._planned * found.s_per_unit
        looked_s = now_s - self._first_s
        if now_s - self._begun_s > self._most_s or looked_s > max(
            min(LEAST_S, SHARE_OF_LITTLE * expected_s), SHARE * expected_s
        ):
            return True
        return len(self._blocks) >= LEAST_BLOCKS and looked_s >= LEAST_S and found.error < ENOUGH_ERROR

    def _start(self) -> None:
        self._synchronise()
        self._first = self._read()
        self._first_s = self._since_s = self._clock()

    def _stop(self) -> None:
        self._synchronise()
        self._end = self._clock(), self._read()

    def _close_block(self) -> None:
        self._synchronise()
        now_s = self._clock()
        self._blocks.append((self._open, now_s - self._since_s))
        self._open, self._since_s = 0.0, now_s

    def _read(self) -> tuple[Reading, ...]:
        return tuple(reading for meter in self._meters for reading in meter.read())
