"""In which passes and tiles a network is run within a bound of memory, at the least cost.

Some activations are kept whole; what lies between two of them is computed tile by tile from the first. Each
normalisation in between takes a pass of its own, which gathers its statistics over all tiles and keeps nothing else; a
last pass writes the second. Which activations are kept is a shortest path: the places are the steps outside residual
blocks, a way from one to another costs the multiplications of its passes, and is open if its tiles fit beside both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lichen.errors import BudgetError
from lichen.memory import gigabytes_up
from lichen.models.tile_steps import Conv, Fork, Join, Norm, Span, Spans, Step, UpConv

SMALLEST = 8
"""The smallest side of a tile in voxels: below, nearly all of the work is overlap."""
BYTES = 4
"""Of a float32."""


@dataclass(frozen=True)
class Chain:
    """The steps of a network for an image of one size; place i is before step i, and the last one after all."""

    steps: tuple[Step, ...]
    sizes: tuple[tuple[int, ...], ...]
    """(*s) at each place."""
    channels: tuple[int, ...]
    """At each place."""

    @classmethod
    def of(cls, steps: tuple[Step, ...], channels: int, size: Sequence[int]) -> Chain:
        """For an input of (1, channels, *size)."""
        sizes, widths = [tuple(size)], [channels]
        for step in steps:
            sizes.append(tuple(step.side(side) for side in sizes[-1]))
            widths.append(int(step.layer.out_channels) if isinstance(step, (Conv, UpConv)) else widths[-1])  # type: ignore[arg-type]
        return cls(steps, tuple(sizes), tuple(widths))

    @property
    def last(self) -> int:
        """The last place."""
        return len(self.steps)

    def bytes_at(self, place: int) -> int:
        """Of the whole activation."""
        return BYTES * self.channels[place] * math.prod(self.sizes[place])

    def places(self) -> list[int]:
        """Those outside residual blocks."""
        found, inside = [], False
        for place, step in enumerate(self.steps):
            if not inside:
                found.append(place)
            inside = isinstance(step, Fork) or (inside and not isinstance(step, Join))
        return [*found, self.last]

    def trace(self, start: int, stop: int, box: Spans) -> list[Spans]:
        """Which box of each place from ``start`` to ``stop`` the ``box`` of the last is made of."""
        boxes = [box]
        for place in range(stop - 1, start - 1, -1):
            spans = zip(boxes[-1], self.sizes[place], strict=True)
            boxes.append(tuple(self.steps[place].needs(span, side) for span, side in spans))
        return boxes[::-1]


@dataclass(frozen=True)
class Pass:
    """Tiles of ``tile`` voxels that are computed from the activation at ``start`` up to ``stop``."""

    start: int
    stop: int
    tile: tuple[int, ...]
    keeps: bool
    """Whether the activation at ``stop`` is kept; otherwise only its statistics are."""


def intervals(side: int, tile: int) -> list[Span]:
    """``side`` voxels in tiles of ``tile``, the last one smaller where they do not divide."""
    return [(start, min(start + tile, side)) for start in range(0, side, tile)]


def cheapest(chain: Chain, fixed_bytes: int, budget_bytes: int) -> tuple[Pass, ...]:
    """The passes that take the least work within ``budget_bytes``, of which ``fixed_bytes`` are taken all the time.

    Input and output are among the fixed bytes.

    Raises:
        BudgetError: not even the smallest tiles fit; it says what would do.
    """
    places = chain.places()
    best: dict[int, tuple[float, tuple[Pass, ...]]] = {0: (0.0, ())}
    for stop in places[1:]:
        ways = []
        for start in (place for place in places if place < stop and place in best):
            free = budget_bytes - fixed_bytes - _kept_bytes(chain, start)
            passes = _passes(chain, start, stop, free)
            if passes is not None:
                cost = sum(_work(chain, each) for each in passes)
                ways.append((best[start][0] + cost, (*best[start][1], *passes)))
        if ways:
            best[stop] = min(ways, key=lambda way: way[0])
    if chain.last not in best:
        needed_gb = gigabytes_up(fixed_bytes + least_bytes(chain))
        raise BudgetError(
            f"{budget_bytes / 1e9:g} GB of memory are too little for the autoencoder, even in the smallest tiles: "
            f"images like these take {needed_gb} GB",
            fix=f"give --memory.budget-gb {needed_gb} or more, or train on smaller images",
        )
    return best[chain.last][1]


def whole_bytes(chain: Chain) -> int:
    """What the network itself holds at most while it runs on one whole image, beside that and the result."""
    held = [chain.bytes_at(place) for place in range(chain.last + 1)]
    upsampled = (held[at] + 2 * held[at + 1] for at, step in enumerate(chain.steps) if isinstance(step, UpConv))
    return max(*_alive(chain, 0, chain.last, held), *upsampled)


def pass_bytes(chain: Chain, start: int, stop: int, tile: Sequence[int]) -> int:
    """What the largest tile of a pass holds at most, beside what is kept."""
    sides = [_sides(chain, start, stop, axis, side) for axis, side in enumerate(tile)]
    held, padded = [], []
    for at, place in enumerate(range(start, stop + 1)):
        values = BYTES * chain.channels[place]
        held.append(values * math.prod(longest[at] for longest, _ in sides))
        padded.append(held[-1] if place < stop and isinstance(chain.steps[place], (Conv, UpConv)) else 0)
    return max(a + p for a, p in zip(_alive(chain, start, stop, held), padded, strict=True))


def _alive(chain: Chain, start: int, stop: int, held: Sequence[int]) -> list[int]:
    """Bytes alive in each step: its input, its output, what entered the residual block, and more."""
    alive, entered = [], 0
    for at, step in enumerate(chain.steps[start:stop]):
        if isinstance(step, Fork):
            entered = held[at]
        besides = 0
        if isinstance(step, Join):
            besides = held[at] + entered  # the shortcut's output, and its input in one piece
        elif isinstance(step, UpConv):
            besides = held[at + 1] // 4 + BYTES * step.layer.weight.numel()  # type: ignore[operator]  # of a Tensor
        alive.append(held[at] + held[at + 1] + entered + besides)
        if isinstance(step, Join):
            entered = 0
    return [*alive, held[-1]]


def _kept_bytes(chain: Chain, place: int) -> int:
    """Beside the fixed bytes, which hold the first and the last."""
    return 0 if place in {0, chain.last} else chain.bytes_at(place)


def _stops(chain: Chain, start: int, stop: int) -> Iterator[tuple[int, bool]]:
    """(place, whether it is kept) of the passes from ``start`` to ``stop``."""
    for place in range(start, stop):
        if isinstance(chain.steps[place], Norm):
            yield place, False
    yield stop, True


def _passes(chain: Chain, start: int, stop: int, free_bytes: int) -> tuple[Pass, ...] | None:
    """The passes from one kept activation to the next, each in the largest tiles that fit; None where none do."""
    passes = []
    for place, keeps in _stops(chain, start, stop):
        free = free_bytes - (_kept_bytes(chain, place) if keeps else 0)
        for tile in _tiles(chain.sizes[place]):
            if pass_bytes(chain, start, place, tile) <= free:
                passes.append(Pass(start, place, tile, keeps))
                break
        else:
            return None
    return tuple(passes)


def _tiles(size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Tiles from the whole down to the smallest, each half of the one before along its longest side."""
    tile = size
    while True:
        yield tile
        longest = max(range(len(tile)), key=lambda axis: tile[axis])
        if tile[longest] <= SMALLEST:
            return
        half = max(SMALLEST, math.ceil(tile[longest] / 2))
        tile = (*tile[:longest], half, *tile[longest + 1 :])


def least_bytes(chain: Chain) -> int:
    """The least that any way through the chain takes at its narrowest, beside the fixed bytes."""
    places = chain.places()
    least = {0: 0}
    for stop in places[1:]:
        least[stop] = min(max(least[start], _least_of_way(chain, start, stop)) for start in places if start < stop)
    return least[chain.last]


def _least_of_way(chain: Chain, start: int, stop: int) -> int:
    return _kept_bytes(chain, start) + max(
        pass_bytes(chain, start, place, [min(side, SMALLEST) for side in chain.sizes[place]])
        + (_kept_bytes(chain, place) if keeps else 0)
        for place, keeps in _stops(chain, start, stop)
    )


def _work(chain: Chain, each: Pass) -> float:
    """Multiplications of a pass, overlap included."""
    sides = [_sides(chain, each.start, each.stop, axis, side) for axis, side in enumerate(each.tile)]
    work = 0.0
    for at, place in enumerate(range(each.start, each.stop)):
        step = chain.steps[place]
        weights = chain.channels[place] * chain.channels[place + 1]
        per_voxel = weights * step.kernel ** len(sides) if isinstance(step, (Conv, UpConv)) else chain.channels[place]
        work += per_voxel * math.prod(total[at + 1] for _, total in sides)
    return work


def _sides(chain: Chain, start: int, stop: int, axis: int, tile: int) -> tuple[list[int], list[int]]:
    """For each place of a pass along an axis: the longest side of all its tiles, and the sum of all."""
    longest, total = [0] * (stop - start + 1), [0] * (stop - start + 1)
    for span in intervals(chain.sizes[stop][axis], tile):
        for at in range(stop - start, -1, -1):
            place = start + at
            if at < stop - start:
                span = chain.steps[place].needs(span, chain.sizes[place][axis])  # noqa: PLW2901 (followed backwards)
            side = span[1] - span[0]
            longest[at], total[at] = max(longest[at], side), total[at] + side
    return longest, total
