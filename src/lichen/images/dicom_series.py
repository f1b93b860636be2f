"""From slices to volumes by geometry alone: file names and numbers say nothing that can be relied on.

A slice lies where its position, projected on the normal of its rows and columns, says (DICOM PS3.3, C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lichen.images.dicom_header import RADIOGRAPHS, Slice

SAME_PLACE_MM = 0.01
MOST_UNEVEN = 0.05
"""How much distances between slices may differ, as a share of the usual distance: positions are rounded."""
MOST_TILTED = 0.02
"""How far the way from slice to slice may lean from their normal (radians): above it the gantry was tilted."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Slices that make one image: a volume from one end to the other, or a single picture."""

    name: str
    patient: str
    slices: tuple[Slice, ...]
    problem: str = ""
    """Why it is no image after all; words that follow its name."""

    @property
    def is_volume(self) -> bool:
        """Whether it has three axes."""
        return len(self.slices) > 1


def stacks(slices: Iterable[Slice]) -> list[Stack]:
    """All images that the slices make, sorted by name; copies of a slice count once."""
    series: dict[str, dict[str, Slice]] = {}
    for one in slices:
        series.setdefault(one.series, {}).setdefault(one.name, one)
    found = [stack for name, members in series.items() for stack in _stacks(name, list(members.values()))]
    return sorted(found, key=lambda stack: stack.name)


def _stacks(name: str, members: list[Slice]) -> list[Stack]:
    if members[0].modality in RADIOGRAPHS or all(one.directions is None for one in members):
        return [_single(one.name, one) for one in members]
    if len(members) == 1:
        return [_single(name, members[0])]
    patients = sorted({one.patient for one in members})
    refused = next((one.refused for one in members if one.refused), "")
    problem = refused or _mixed(members) or ("belongs to several patients" if len(patients) > 1 else "")
    if problem:
        return [Stack(name, patients[0], tuple(members), problem)]
    places = _by_place(members)
    counts = {len(place) for place in places}
    if len(counts) > 1:
        problem = f"has between {min(counts)} and {max(counts)} slices at one place"
        return [Stack(name, patients[0], tuple(members), problem)]
    problem = _uneven(places)
    number = counts.pop()
    names = [name] if number == 1 else [f"{name}[{index}]" for index in range(number)]
    return [
        Stack(one, patients[0], tuple(place[index] for place in places), problem) for index, one in enumerate(names)
    ]


def _single(name: str, one: Slice) -> Stack:
    return Stack(name, one.patient, (one,), one.refused)


def _mixed(members: Sequence[Slice]) -> str:
    """What keeps slices from lying in parallel on one grid, in words; empty if nothing does."""
    first = members[0]
    if any(one.directions is None for one in members):
        return "has slices that do not say where they lie"
    if any(one.shape != first.shape for one in members):
        return "has slices of different sizes"
    if any(not np.allclose(one.spacing_mm, first.spacing_mm, rtol=1e-3) for one in members):
        return "has slices with different distances between pixels"
    directions = np.stack([one.directions for one in members if one.directions is not None])
    products = directions[:, 0] @ directions[0, 1]
    lengths = np.linalg.norm(directions, axis=2)
    if not (
        np.allclose(lengths, 1, atol=1e-2) and np.allclose((directions[:, 0] * directions[:, 1]).sum(1), 0, atol=1e-2)
    ):
        return "has rows and columns that are not at right angles"
    if not np.allclose(directions, directions[0], atol=1e-3) or not np.isfinite(products).all():
        return "has slices in several directions, as scouts and localizers do"
    return ""


def _by_place(members: Sequence[Slice]) -> list[list[Slice]]:
    """The slices of each place, from one end to the other; those of one place in the order of the scanner."""
    along = {id(one): float(_position(one) @ normal(members[0])) for one in members}
    places: list[list[Slice]] = []
    for one in sorted(members, key=lambda one: (along[id(one)], one.order)):
        if places and along[id(one)] - along[id(places[-1][0])] < SAME_PLACE_MM:
            places[-1].append(one)
        else:
            places.append([one])
    return [sorted(place, key=lambda one: one.order) for place in places]


def _uneven(places: Sequence[Sequence[Slice]]) -> str:
    """What keeps the places from lying evenly on a line, in words; empty if nothing does."""
    if len(places) == 1:
        return "has several slices at one place and none at another"
    positions = np.stack([_position(place[0]) for place in places])
    steps = np.diff(positions, axis=0)
    distances = steps @ normal(places[0][0])
    usual = float(np.median(distances))
    if np.abs(distances - usual).max() > MOST_UNEVEN * usual:
        return f"has slices {distances.min():.3g} to {distances.max():.3g} mm apart: some are missing, or too many"
    lean = np.linalg.norm(steps.mean(axis=0) - usual * normal(places[0][0])) / usual
    return "was made with a tilted gantry" if lean > MOST_TILTED else ""


def normal(one: Slice) -> NDArray[np.float64]:
    """(3,) unit vector across the slice, in LPS."""
    assert one.directions is not None
    return np.cross(*one.directions)


def stack_affine(stack: Stack) -> NDArray[np.float64]:
    """(4, 4): index (column, row, slice, 1) of a volume to mm in RAS; of a picture (row, column, 0, 1), turned nowhere.

    Pictures know no place: only their distances between rows and columns count.
    """
    first = stack.slices[0]
    affine = np.eye(4)
    if not stack.is_volume:
        affine[0, 0], affine[1, 1], affine[2, 2] = *first.spacing_mm, first.thickness_mm
        return affine
    assert first.directions is not None
    affine[:3, 0] = first.directions[0] * first.spacing_mm[1]
    affine[:3, 1] = first.directions[1] * first.spacing_mm[0]
    affine[:3, 2] = (_position(stack.slices[-1]) - _position(first)) / (len(stack.slices) - 1)
    affine[:3, 3] = _position(first)
    return np.asarray(LPS_TO_RAS @ affine)


def _position(one: Slice) -> NDArray[np.float64]:
    assert one.position_mm is not None
    return one.position_mm
