"""How a flagged image differs from the training image that it copies."""

from __future__ import annotations

import pytest

from lichen.audit import audit
from lichen.audit.planted import DISTURBANCES
from lichen.config import AuditConfig
from lichen.images import load_set
from lichen.images.phantoms import phantom_source
from lichen.images.types import ImageSet


def test_a_flagged_copy_tells_how_it_was_mirrored_turned_and_zoomed_and_the_others_tell_nothing() -> None:
    people = load_set(phantom_source("2d", 26, images_per_patient=1).items, (40, 40))

    def part(start: int, stop: int) -> ImageSet:
        at = slice(start, stop)
        return ImageSet(people.voxels[at].clone(), people.names[at], people.patients[at], people.affine)

    train, held_out, synthetic = part(0, 8), part(8, 20), part(20, 26)
    for i, name in enumerate(("exact", "mirror", "zoom 1.1", "rotation 5 degrees")):
        synthetic.voxels[i] = DISTURBANCES[name](train.voxels[i : i + 1], seed=0, indices=[i])[0]
    found = audit(synthetic, train, held_out, AuditConfig(scores=("aligned",), false_discovery_rate=0.2)).findings
    assert [finding.is_copy for finding in found] == [True] * 4 + [False] * 2
    exact, mirror, zoom, turned = (finding.transform for finding in found[:4])
    assert exact is not None and mirror is not None and zoom is not None and turned is not None  # noqa: PT018
    assert (exact.mirror, mirror.mirror, zoom.mirror, turned.mirror) == (False, True, False, False)
    assert exact.zoom == pytest.approx(1, abs=0.01)
    assert exact.shift == pytest.approx((0, 0), abs=0.005)
    assert zoom.zoom == pytest.approx(1.1, abs=0.02)
    assert abs(turned.rotation_deg[0]) == pytest.approx(5, abs=0.7)
    assert found[4].transform is found[5].transform is None
