"""What an audit did not look at, in sentences: printed with every verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lichen.plurals import plural
from lichen.skipped import skipped_words

if TYPE_CHECKING:
    from lichen.audit.resolution import Resolution
    from lichen.audit.result import Counts, Duplicates
    from lichen.audit.scores import Score

_UNSEEN = {"synthetic": ", of which the verdict says nothing", "train": ", of which a copy goes unnoticed"}
"""What follows from images that were left out, by their set."""


def limitations(
    scores: Sequence[Score],
    counts: Counts,
    resolved: Resolution,
    duplicates: Duplicates,
    *,
    has_patients: bool,
    has_detail: bool,
    self_tested: bool,
    too_few_to_compete: bool = False,
    least_discoveries: int | None = None,
    has_label_maps: bool = False,
    by_slices: bool = False,
) -> tuple[str, ...]:
    """One sentence for each thing that was not tested, the resolution first.

    ``has_patients``: the held-out images say whose they are. ``has_detail``: the images are large enough to tell
    near-duplicates from look-alikes. ``self_tested``: copies were planted. ``least_discoveries``: of the competition
    with withheld images, where that decided; ``too_few_to_compete``: there are such images, and they were not asked.
    ``has_label_maps``: a channel took no part. ``by_slices``: one slice stands for each held-out patient.
    """
    return (
        *_of_the_resolution(resolved, least_discoveries),
        *(score.blind_spots for score in scores),
        "copies of a part of an image, and mixtures of two patients, are not looked for",
        "held-out patients are taken to be of the same source as the training patients, and never seen in training",
        "similarity is not privacy: that no image is a copy does not show that nothing can be learned of a patient",
        *(
            ["label maps take no part in the verdict: one that is copied under another image is not flagged"]
            if has_label_maps
            else []
        ),
        *(
            ["each held-out patient counts by one random slice: synthetic slices are taken to be of the same levels"]
            if by_slices
            else []
        ),
        *(["the synthetic images were too few for a competition with the withheld ones"] if too_few_to_compete else []),
        *_of_the_sets(counts, resolved, duplicates, has_patients=has_patients, has_detail=has_detail),
        *(
            ["the power is that of planted copies; a generator's own may be harder to find"]
            if self_tested
            else ["the share of copies that would be found was not measured by planting known ones"]
        ),
    )


def _of_the_resolution(resolved: Resolution, least_discoveries: int | None) -> Iterator[str]:
    if least_discoveries is not None:
        fewer = plural(least_discoveries, "patient")
        yield f"copies of fewer than {fewer} go unnoticed: the competition flags so many or none"
    elif resolved.detectable_share > 1:
        yield f"{plural(resolved.patients, 'held-out patient')} cannot show any share of copies: too few"
    else:
        yield f"copies that make up less than {resolved.detectable_share:.1%} of the images may go unnoticed"


def _of_the_sets(
    counts: Counts, resolved: Resolution, duplicates: Duplicates, *, has_patients: bool, has_detail: bool
) -> Iterator[str]:
    if not has_patients:
        yield "nothing says which held-out images are of one patient; each was counted as a patient of its own"
    for name, number in counts.skipped.items():
        if number:
            yield f"left out as unusable: {skipped_words({name: number})}{_UNSEEN.get(name, '')}"
    if counts.synthetic_not_comparable:
        yield f"constant, and compared with nothing: {plural(counts.synthetic_not_comparable, 'synthetic image')}"
    if resolved.patients < counts.reference_patients:
        blank = counts.reference_patients - resolved.patients
        yield f"not counted, with constant images only: {plural(blank, 'held-out patient')}"
    if not has_detail:
        yield "the images are too small for near-duplicates among the real ones to be told from look-alikes"
    if duplicates.left_out:
        yield f"left out, being training patients too: {plural(len(duplicates.left_out), 'held-out patient')}"
    if duplicates.with_held_out:
        near = plural(len(duplicates.with_held_out), "held-out image")
        yield f"{near} nearly a training image: copies look usual beside them, and fewer are found than without"
