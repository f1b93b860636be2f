"""Which patients are trained on and which are held out."""

from __future__ import annotations

import math
from dataclasses import replace

from lichen.errors import ImageError
from lichen.images.types import ImageSet, Item, Source
from lichen.plurals import plural
from lichen.seeds import mix_seed


def split_by_patient(
    source: Source, held_out_fraction: float, seed: int, patients_wanted: int | None = None
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The items to train on and those held out; no patient has images in both.

    Patients are ranked by the SHA-256 of seed and patient, so the split depends on the seed and the set of patients and
    on nothing else: not on file names, their order or the number of images. The first ``held_out_fraction`` of the
    ranking, rounded to whole patients, is held out: at least one patient and not all of them, unless the fraction is
    0 or there is only one patient. A larger fraction at the same seed only adds patients to the held-out side.

    With ``patients_wanted`` only so many are trained on, the last ones of the ranking: a smaller number is a part of a
    larger one, and the held-out side stays as it is. Raises ImageError where there are fewer.
    """
    patients = sorted(
        {item.patient for item in source.items}, key=lambda name: (mix_seed(seed, "held out", name), name)
    )
    count = math.floor(held_out_fraction * len(patients) + 0.5)
    if held_out_fraction > 0:
        count = max(1, count)
    count = max(0, min(count, len(patients) - 1))
    held_out, to_train_on = set(patients[:count]), patients[count:]
    if patients_wanted is not None and patients_wanted > len(to_train_on):
        raise ImageError(
            f"images.patients is {patients_wanted}; {source.label} has {plural(len(to_train_on), 'patient')} to train "
            f"on beside {len(held_out)} held out",
            fix=f"set --images.patients to at most {len(to_train_on)}, or lower --images.held-out-fraction",
        )
    train = set(to_train_on if patients_wanted is None else to_train_on[-patients_wanted:])
    return (
        tuple(item for item in source.items if item.patient in train),
        tuple(item for item in source.items if item.patient in held_out),
    )


def one_of_each(images: ImageSet) -> ImageSet:
    """One image of each patient, in the order in which patients first appear.

    Which one is drawn by the patient's name and the number of their images alone.
    """
    of_patient: dict[str, list[int]] = {}
    for at, patient in enumerate(images.patients):
        of_patient.setdefault(patient, []).append(at)
    drawn = [own[mix_seed("one of each", patient) % len(own)] for patient, own in of_patient.items()]
    return replace(
        images, voxels=images.voxels[drawn], names=tuple(images.names[at] for at in drawn), patients=tuple(of_patient)
    )
