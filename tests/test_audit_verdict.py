from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lichen.audit import (
    AuditResult,
    Names,
    Score,
    audit,
    conformal_p_values,
    find_score,
    open_names,
    patient_maxima,
    register,
    summary,
    write_audit,
)
from lichen.audit.pearson import prepare
from lichen.config import AuditConfig
from lichen.errors import AuditError
from lichen.images.types import ImageSet
from lichen.progress import Step, silent
from made_audits import made_audit

SIDE = 12
NAMES = Names("0" * 64)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of tiny operations: a second thread only waits, and on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _people(name: str, patients: int, images_each: int = 1, *, seed: int) -> ImageSet:
    """Invented patients: twelve numbers of anatomy each, the same way of imaging for all, a little noise per image."""
    generator = torch.Generator().manual_seed(seed)
    imaging = torch.randn((12, SIDE * SIDE), generator=torch.Generator().manual_seed(0))
    anatomy = torch.randn((patients, 12), generator=generator).repeat_interleave(images_each, 0)
    voxels = anatomy @ imaging + 0.3 * torch.randn((len(anatomy), SIDE * SIDE), generator=generator)
    owners = [f"{name}-{i // images_each}" for i in range(len(anatomy))]
    names = tuple(f"{owner}/image-{i}.png" for i, owner in enumerate(owners))
    return ImageSet((voxels / 20).reshape(-1, 1, SIDE, SIDE), names, tuple(owners), np.eye(4))


PLAIN = AuditConfig(scores=("pearson",), self_test=0)
"""The score by which these sets were made up, and nothing planted: some tests make hundreds of audits."""


def _with(images: ImageSet, voxels: torch.Tensor) -> ImageSet:
    return replace(images, voxels=voxels)


def _planted(synthetic: ImageSet, train: ImageSet, count: int, noise: float) -> ImageSet:
    voxels = synthetic.voxels.clone()
    extra = torch.randn((count, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(99))
    voxels[:count] = train.voxels[:count] + noise * extra
    return _with(synthetic, voxels)


def _slices(name: str, patients: int, *, seed: int) -> ImageSet:
    """Twenty slices of each patient, which resemble each other no more than those of others."""
    images = _people(name, 20 * patients, seed=seed)
    owners = tuple(f"{name}-{at // 20}" for at in range(len(images.names)))
    return replace(images, patients=owners, are_slices=True)


def test_p_values_of_new_slices_are_uniform_though_held_out_patients_have_many() -> None:
    train, reference = _slices("train", 20, seed=1), _slices("held-out", 120, seed=2)
    new = _people("new", 300, seed=3)
    by_one = [finding.p_value for finding in audit(new, train, reference, PLAIN).findings]
    np.testing.assert_allclose(np.quantile(by_one, [0.05, 0.25, 0.5, 0.75]), [0.05, 0.25, 0.5, 0.75], atol=0.1)
    by_nearest = audit(new, train, replace(reference, are_slices=False), PLAIN)
    assert np.quantile([finding.p_value for finding in by_nearest.findings], 0.25) > 0.9


def test_label_maps_of_patients_who_are_left_out_say_nothing() -> None:
    train, reference, new = (_people(name, 30, seed=seed) for seed, name in enumerate(("train", "held-out", "new")))
    labelled = [
        replace(images, voxels=torch.cat([images.voxels, images.voxels.sign()], 1), classes=(0, 1))
        for images in (train, reference, new)
    ]
    both = replace(
        labelled[1],
        **{name: getattr(labelled[1], name) + getattr(labelled[0], name)[:9] for name in ("names", "patients")},
        voxels=torch.cat([labelled[1].voxels, labelled[0].voxels[:9]]),
    )
    overlapping = audit(labelled[2], labelled[0], both, replace(PLAIN, allow_overlap=True))
    assert overlapping.label_maps == audit(labelled[2], labelled[0], labelled[1], PLAIN).label_maps


def test_new_patients_are_rarely_called_copies_and_their_p_values_are_uniform() -> None:
    # No copy anywhere: a verdict may be wrong in at most 5 % of the audits (0.092: + 2.7 sd).
    # 299 patients resolve p = 0.1/30, so that a single unlucky image of the thirty can raise the alarm.
    audits, alarms, p_values = 200, 0, []
    for seed in range(audits):
        result = audit(
            _people("new", 30, seed=10_000 + seed),
            _people("train", 50, 2, seed=20_000 + seed),
            _people("held-out", 299, seed=30_000 + seed),
            PLAIN,
        )
        alarms += result.verdict == "copies"
        p_values += [finding.p_value for finding in result.findings]
    assert 0 < alarms / audits <= 0.092
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, rel=0.12)


def test_a_smaller_validation_pool_flags_innocent_images_and_the_p_values_do_not() -> None:
    # 904 training, 226 validation and 904 new images without a copy: the published rule compares the nearest of 904
    # with a 95th percentile of the nearest of 226.
    by_percentile, by_p_value = [], []
    for seed in range(4):
        train, validation, new = (_people(str(i), n, seed=100 * i + seed) for i, n in enumerate((904, 226, 904)))
        numbers = torch.arange(904)

        def nearest(queries: ImageSet, pool: ImageSet, numbers: torch.Tensor = numbers) -> torch.Tensor:
            search = prepare(pool.voxels, numbers[: len(pool.names)])
            return search(queries.voxels, k=1).similarity[:, 0].double()

        found = nearest(new, train).numpy()
        threshold = float(torch.quantile(nearest(train, validation), 0.95))
        null = patient_maxima(nearest(validation, train).numpy(), validation.patients)
        by_percentile.append((found > threshold).mean())
        by_p_value.append((conformal_p_values(found, null) <= 0.05).mean())
    assert np.mean(by_percentile) > 0.10
    assert 0.03 < np.mean(by_p_value) < 0.07


def test_planted_copies_are_found_and_name_their_training_image_and_patient() -> None:
    train = _people("train", 60, 2, seed=1)
    synthetic = _planted(_people("new", 50, seed=2), train, 10, noise=0.02)
    result = audit(synthetic, train, _people("held-out", 120, 2, seed=3), PLAIN)
    assert result.verdict == "copies"
    assert result.exit_code == 1
    found = {finding.name for finding in result.copies}
    assert found >= set(synthetic.names[:10])
    assert len(found) <= 13
    for i, finding in enumerate(result.findings[:10]):
        assert (finding.nearest_image, finding.nearest_patient) == (train.names[i], train.patients[i])
        assert not finding.is_identical
        assert finding.p_value == result.resolution.smallest_p
    assert set(result.passed_names) == set(synthetic.names) - found


def test_an_identical_image_is_a_copy_even_where_the_statistics_can_resolve_nothing() -> None:
    train = _people("train", 20, seed=1)
    synthetic = _planted(_people("new", 50, seed=2), train, 1, noise=0.0)
    result = audit(synthetic, train, _people("held-out", 3, seed=3), PLAIN)
    assert result.verdict == "copies"
    assert [finding.name for finding in result.copies] == [synthetic.names[0]]
    assert result.copies[0].is_identical
    assert result.copies[0].nearest_image == train.names[0]


def test_of_training_images_alike_but_for_their_gain_the_identical_one_is_named() -> None:
    train = _people("train", 20, seed=1)
    train.voxels[:10] = 0.5 * train.voxels[10:]
    synthetic = _with(_people("new", 10, seed=2), train.voxels[10:].clone())
    result = audit(synthetic, train, _people("held-out", 3, seed=3), PLAIN)
    assert [finding.nearest_image for finding in result.findings] == list(train.names[10:])


def test_two_scores_halve_the_resolution_and_both_report_their_similarity() -> None:
    register(Score("test-twin", find_score("pearson").prepare, "as pearson"))
    sets = (_people("new", 10, seed=4), _people("train", 30, seed=5), _people("held-out", 99, seed=6))
    one, two = (audit(*sets, replace(PLAIN, scores=scores)) for scores in (("pearson",), ("pearson", "test-twin")))
    assert (one.verdict, two.verdict) == ("clean", "inconclusive")
    assert (two.resolution.smallest_p, two.resolution.patients_needed) == (0.02, 100)
    for alone, both in zip(one.findings, two.findings, strict=True):
        assert both.p_value == min(1.0, 2 * alone.p_value)
        assert both.similarities == {"pearson": alone.similarity, "test-twin": alone.similarity}


def test_ninety_nine_held_out_patients_can_say_clean_and_ninety_eight_cannot() -> None:
    synthetic, train = _people("new", 10, seed=4), _people("train", 30, seed=5)
    enough = audit(synthetic, train, _people("held-out", 99, seed=6), PLAIN)
    short = audit(synthetic, train, _people("held-out", 98, seed=6), PLAIN)
    assert (enough.verdict, enough.exit_code, enough.resolution.patients_needed) == ("clean", 0, 0)
    assert (short.verdict, short.exit_code, short.resolution.patients_needed) == ("inconclusive", 3, 1)


def test_more_images_of_the_same_held_out_patients_resolve_nothing_more() -> None:
    synthetic, train = _people("new", 10, seed=4), _people("train", 30, seed=5)
    result = audit(synthetic, train, _people("held-out", 40, 5, seed=6), PLAIN)
    assert result.resolution.patients == 40
    assert result.counts.reference_images == 200
    assert result.verdict == "inconclusive"


def test_one_held_out_patient_is_inconclusive_with_the_number_that_is_missing() -> None:
    result = audit(_people("new", 5, seed=1), _people("train", 9, seed=2), _people("held-out", 1, seed=3), PLAIN)
    assert result.verdict == "inconclusive"
    assert result.resolution.smallest_p == 0.5
    assert result.resolution.patients_needed == 98
    assert "98 more held-out patients" in summary(result, NAMES)


def test_gain_offset_and_order_of_the_synthetic_images_change_no_verdict() -> None:
    train, held_out = _people("train", 40, 2, seed=1), _people("held-out", 99, seed=3)
    synthetic = _planted(_people("new", 30, seed=2), train, 8, noise=0.02)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    altered = ImageSet(
        0.3 * synthetic.voxels[order] + 0.1, tuple(synthetic.names[i] for i in order), ("x",) * 30, np.eye(4)
    )
    plain, other = (audit(images, train, held_out, PLAIN) for images in (synthetic, altered))
    expected = {f.name: (f.p_value, f.is_copy, f.nearest_image) for f in plain.findings}
    assert {f.name: (f.p_value, f.is_copy, f.nearest_image) for f in other.findings} == expected


def test_a_constant_synthetic_image_is_reported_and_not_flagged() -> None:
    synthetic = _people("new", 10, seed=1)
    voxels = synthetic.voxels.clone()
    voxels[3] = 0.5
    result = audit(_with(synthetic, voxels), _people("train", 30, seed=2), _people("held-out", 99, seed=3), PLAIN)
    blank = result.findings[3]
    assert (blank.similarity, blank.p_value, blank.is_copy, blank.nearest_image) == (None, 1.0, False, None)
    assert result.counts.synthetic_not_comparable == 1
    assert any(sentence == "constant, and compared with nothing: 1 synthetic image" for sentence in result.limitations)


def test_a_set_of_constant_images_is_never_clean() -> None:
    synthetic = _people("new", 4, seed=1)
    train, held_out = _people("train", 30, seed=2), _people("held-out", 99, seed=3)
    result = audit(_with(synthetic, torch.zeros_like(synthetic.voxels)), train, held_out, PLAIN)
    assert result.verdict == "inconclusive"
    assert "every synthetic image is constant" in summary(result, NAMES)


def test_held_out_patients_with_only_constant_images_do_not_count() -> None:
    held_out = _people("held-out", 99, seed=3)
    voxels = held_out.voxels.clone()
    voxels[:2] = -1.0
    result = audit(_people("new", 5, seed=1), _people("train", 9, seed=2), _with(held_out, voxels), PLAIN)
    assert result.resolution.patients == 97
    assert result.verdict == "inconclusive"


def test_repeated_training_images_are_counted() -> None:
    train = _people("train", 9, seed=2)
    twice = ImageSet(train.voxels[[0, 1, 1, 1, 2, 2]], train.names[:6], train.patients[:6], np.eye(4))
    result = audit(_people("new", 5, seed=1), twice, _people("held-out", 9, seed=3), PLAIN)
    assert result.counts.train_duplicates == 3
    assert "3 repeated training images" in summary(result, NAMES)


def test_a_patient_on_both_sides_is_named_with_both_images() -> None:
    train, held_out = _people("train", 5, seed=1), _people("held-out", 5, seed=2)
    leaked = replace(held_out, patients=(*held_out.patients[:4], "train-2"))
    with pytest.raises(AuditError, match=r"train-2.*train-2/image-2.png.*held-out-4/image-4.png"):
        audit(_people("new", 2, seed=3), train, leaked, PLAIN)


def test_an_image_on_both_sides_under_two_names_is_named_by_both() -> None:
    train, held_out = _people("train", 5, seed=1), _people("held-out", 5, seed=2)
    voxels = held_out.voxels.clone()
    voxels[3] = train.voxels[1]
    with pytest.raises(AuditError, match=r"train-1/image-1.png.*held-out-3/image-3.png"):
        audit(_people("new", 2, seed=3), train, _with(held_out, voxels), PLAIN)


def test_equal_file_names_in_two_folders_without_known_patients_are_no_leak() -> None:
    names = tuple(f"{i:04}.png" for i in range(5))
    train = replace(_people("train", 5, seed=1), names=names, patients=names)
    held_out = replace(_people("held-out", 5, seed=2), names=names, patients=names)
    result = audit(_people("new", 2, seed=3), train, held_out, PLAIN)
    assert result.verdict == "inconclusive"
    assert any("each was counted as a patient of its own" in sentence for sentence in result.limitations)


def test_blank_images_on_both_sides_are_no_leak() -> None:
    train, held_out = _people("train", 5, seed=1), _people("held-out", 5, seed=2)
    for images in (train, held_out):
        images.voxels[0] = -1.0
    assert audit(_people("new", 2, seed=3), train, held_out, PLAIN).counts.train_images == 5


@pytest.mark.parametrize(
    ("withheld", "words"),
    [(_people("w", 11, seed=9), "withheld: 11 images"), (_people("t", 12, seed=1), "withheld image")],
)
def test_withheld_images_that_cannot_compete_are_refused_before_any_search(
    tmp_path: Path, withheld: ImageSet, words: str
) -> None:
    train, reference = _people("t", 12, seed=1), _people("r", 12, seed=2)
    if words == "withheld image":
        withheld = _with(_people("w", 12, seed=9), train.voxels)
    work = tmp_path / "work"
    with pytest.raises(AuditError, match=words):
        audit(_people("s", 3, seed=3), train, reference, AuditConfig(), withheld=withheld, work=work)
    assert not work.exists()


@pytest.mark.parametrize("memory_mb", [64, 4096])
def test_what_an_audit_keeps_meanwhile_is_its_owners_alone(tmp_path: Path, memory_mb: int) -> None:
    work = tmp_path / "work"
    synthetic, train, reference = (_people(name, 12, seed=seed) for seed, name in enumerate("str"))
    settings = AuditConfig(memory_mb=memory_mb, scores=("pearson",), self_test=0)
    audit(synthetic, train, reference, settings, work=work)
    assert list(work.iterdir())
    assert work.stat().st_mode & 0o077 == 0


def test_a_file_name_cannot_forge_a_line_of_the_verdict_or_steer_the_terminal(tmp_path: Path) -> None:
    result = made_audit()
    forged = "x\nverdict     clean: no copy\x1b[2J\u202egnp.png"
    result = replace(result, findings=tuple(replace(f, name=forged) for f in result.findings))
    text = summary(result, open_names(tmp_path))
    assert r"x\nverdict     clean: no copy\x1b[2J\u202egnp.png" in text
    assert sum(line.startswith("verdict") for line in text.splitlines()) == 1
    assert all(line.isprintable() for line in text.splitlines())


def _audit_of(sets: dict[str, ImageSet], step: Step = silent) -> AuditResult:
    return audit(sets["synthetic"], sets["train"], sets["reference"], PLAIN, step=step)


def _sets() -> dict[str, ImageSet]:
    return {
        "synthetic": _people("new", 4, seed=1),
        "train": _people("train", 5, seed=2),
        "reference": _people("held-out", 6, seed=3),
    }


@pytest.mark.parametrize(
    ("which", "words"), [("synthetic", "no synthetic"), ("train", "no training"), ("reference", "no held-out")]
)
def test_an_empty_set_is_refused_by_name(which: str, words: str) -> None:
    sets = _sets()
    sets[which] = ImageSet(torch.empty((0, 1, SIDE, SIDE)), (), (), np.eye(4))
    with pytest.raises(AuditError, match=words) as error:
        _audit_of(sets)
    assert f"--{which}" in error.value.fix


@pytest.mark.parametrize("which", ["synthetic", "reference"])
def test_other_channels_and_other_sizes_are_refused_with_both_numbers(which: str) -> None:
    sets = _sets()
    plain = sets[which]
    sets[which] = _with(plain, plain.voxels.repeat(1, 3, 1, 1))
    with pytest.raises(AuditError, match=r"3 channels, the training images 1 .*image-0.png"):
        _audit_of(sets)
    sets[which] = _with(plain, plain.voxels[..., :8])
    with pytest.raises(AuditError, match="12 x 8 voxels, the training images 12 x 12") as error:
        _audit_of(sets)
    assert "--images.size 12 12" in error.value.fix


@pytest.mark.parametrize("which", ["synthetic", "train", "reference"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_with_nan_or_infinite_voxels_is_refused_by_name(which: str, value: float) -> None:
    sets = _sets()
    sets[which].voxels[2, 0, 3, 3] = value
    with pytest.raises(AuditError, match=r"-2/image-2\.png has voxels that are NaN or infinite"):
        _audit_of(sets)


def test_audit_json_holds_every_synthetic_image_and_the_hashes_of_its_inputs(tmp_path: Path) -> None:
    train = _people("train", 20, seed=1)
    synthetic = _planted(_people("<b>new</b>", 6, seed=2), train, 1, noise=0.0)
    synthetic.voxels[5] = 0.0
    result = audit(synthetic, train, _people("held-out", 30, seed=3), PLAIN)
    write_audit(result, tmp_path / "audit" / "audit.json", inputs_sha256={"synthetic": "ab", "train": "cd"})
    written = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert written["verdict"] == "copies"
    assert [image["file"] for image in written["images"]] == list(synthetic.names)
    assert written["copies"] == [image["file"] for image in written["images"] if image["flagged"]]
    assert written["images"][0]["nearest"] == open_names(tmp_path / "audit").patient("train-0")
    assert written["images"][0]["score"] == pytest.approx(1.0)
    assert written["images"][5]["score"] is None
    assert written["inputs"] == {"synthetic": "ab", "train": "cd"}
    assert written["resolution"]["smallest_p"] == 1 / 31
    assert {"false_discovery_rate": 0.1, "scores": ["pearson"]}.items() <= written["settings"].items()
    assert "mirrored" in " ".join(written["not_tested"])


def test_the_summary_for_a_run_folder_names_no_image_and_no_patient() -> None:
    train = _people("train", 20, seed=1)
    synthetic = _planted(_people("new", 6, seed=2), train, 2, noise=0.0)
    short = audit(synthetic, train, _people("held-out", 30, seed=3), PLAIN).as_summary()
    assert (short["verdict"], short["copies"], short["identical"], short["tested"]) == ("copies", 2, 2, 6)
    assert not any(word in json.dumps(short) for word in ("train-", "new-", "held-out-"))


def test_the_summary_for_people_has_at_most_ten_lines_and_names_the_pairs() -> None:
    train = _people("train", 20, seed=1)
    twice = ImageSet(train.voxels[[*range(20), 0]], (*train.names, "again.png"), (*train.patients, "z"), np.eye(4))
    synthetic = _planted(_people("new", 8, seed=2), train, 5, noise=0.0)
    lines = summary(audit(synthetic, twice, _people("held-out", 30, seed=3), PLAIN), NAMES).splitlines()
    assert len(lines) == 10
    assert "COPIES: 5 of 8" in lines[0]
    pairs = [line for line in lines if " ~ " in line]
    assert len(pairs) == 2
    assert all("identical" in line for line in pairs)


def test_progress_counts_held_out_and_synthetic_images() -> None:
    seen: list[int] = []
    _audit_of(_sets(), seen.append)
    assert sum(seen) == 10
