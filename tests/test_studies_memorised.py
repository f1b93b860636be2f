"""The outcomes of a training: against the run's own files, and against correlations computed one by one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lichen.audit import write_audit
from lichen.chain import load_samples, read_images, run
from lichen.config import RunConfig
from lichen.energy import read_traces
from lichen.errors import RunError
from lichen.footprint import TRAINING
from lichen.images import open_folder
from lichen.presets import load_preset
from lichen.progress import silent
from lichen.quality.features import random_features
from lichen.quality.frechet import squared_frechet
from lichen.quality.scaling import standardisation
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.statistics import Interval
from lichen.studies.memorised import Correlations, Outcomes, outcomes_of
from lichen.watch import watching
from made_audits import IMAGE, PATIENT, made_audit

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Outcomes]:
    """A finished run and its outcomes; looking at them adds nothing to the run."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    config = load_settings(TINY, load_preset("demo", 2))
    config = replace(
        config,
        images=replace(config.images, phantom_patients=12),
        autoencoder=replace(config.autoencoder, kind="none"),
        training=replace(config.training, images_seen=64),
        sampling=replace(config.sampling, count=4),
        carbon=replace(config.carbon, grid="FR"),
    )
    run(config, folder, command="lichen run", quiet=True)
    before = files(folder)
    outcomes = outcomes_of(folder)
    assert files(folder) == before
    return folder, outcomes


def files(folder: RunFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_correlations_and_frechet_distance_are_those_of_the_images_of_the_run(
    finished: tuple[RunFolder, Outcomes], tmp_path: Path
) -> None:
    folder, outcomes = finished
    config = load_settings(folder.config, RunConfig())
    with watching(tmp_path, config.carbon, quiet=True) as watch:
        data = read_images(config, watch)
    synthetic = load_samples(open_folder(folder.samples), data.train, None, silent)
    found = outcomes.correlations
    assert found is not None
    for images, values in ((synthetic, found.synthetic), (data.held_out, found.held_out)):
        train, queries = (each.voxels.flatten(1).double().numpy() for each in (data.train, images))
        known = np.corrcoef(queries, train)[: len(queries), len(queries) :].max(axis=1)
        assert values == pytest.approx(sorted(known), abs=1e-5)  # the nearest training image's
    frechet = outcomes.frechet_distance
    raw, made = (random_features(images.voxels) for images in (data.held_out, synthetic))
    scaled = standardisation(raw)
    assert scaled is not None
    assert frechet is not None
    assert frechet.low is not None
    assert frechet.high is not None
    assert frechet.estimate == pytest.approx(squared_frechet(scaled(made), scaled(raw)))
    assert (frechet.low < (frechet.estimate or 0) < frechet.high, frechet.n) == (True, 4)


def test_the_outcomes_are_those_of_the_audit_the_summary_and_the_trace(finished: tuple[RunFolder, Outcomes]) -> None:
    folder, found = finished
    audit = json.loads(folder.audit.read_text())
    rate = audit["copy_rate"]
    assert found.copy_rate == Interval(rate["estimate"], rate["low"], rate["high"], 4)
    assert found.memorised_patients is not None
    assert (found.memorised_patients.n, found.memorised_patients.high) == (6, audit["memorised_patients"]["high"])
    assert (found.verdict, found.train_patients, found.synthetic_images) == (audit["verdict"], 6, 4)
    training = [phase for phase in read_traces(folder.traces) if phase.phase in TRAINING]
    assert found.training_s == sum(phase.duration_s for phase in training) > 0
    assert (found.training_energy_j is None) == all(phase.total.energy_j is None for phase in training)
    assert found.kernel_distance is None  # four synthetic images say nothing of a distance


def test_what_is_not_there_is_none(finished: tuple[RunFolder, Outcomes], tmp_path: Path) -> None:
    empty = outcomes_of(RunFolder(tmp_path))
    assert set(empty.as_json().values()) == {None}
    broken_off = RunFolder(tmp_path / "broken-off")
    shutil.copytree(
        finished[0].path, broken_off.path, ignore=shutil.ignore_patterns("samples", "audit", "summary.json")
    )
    found = outcomes_of(broken_off)
    assert (found.correlations, found.frechet_distance, found.copy_rate, found.verdict) == (None, None, None, None)
    assert found.training_s == finished[1].training_s


def test_images_other_than_those_trained_on_are_not_correlated(
    finished: tuple[RunFolder, Outcomes], tmp_path: Path
) -> None:
    other = RunFolder(tmp_path / "other")
    shutil.copytree(finished[0].path, other.path)
    other.images.write_text("0" * 64)
    assert outcomes_of(other).correlations is None


def test_the_outcomes_name_no_patient(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_audit(made_audit(), folder.audit, inputs_sha256={})
    found = outcomes_of(folder)
    assert found.copy_rate == Interval(0.16, 0.09, 0.25, 60)
    nearest = json.loads(folder.audit.read_text())["images"][0]
    text = json.dumps(found.as_json())
    assert not any(name in text for name in (PATIENT, IMAGE, nearest["nearest"], nearest["file"]))


def test_distances_have_the_interval_of_their_error(tmp_path: Path) -> None:
    distance = {"synthetic": {"value": 0.5, "standard_error": 0.1}, "synthetic_images": 40, "real": None}
    RunFolder(tmp_path).write_summary({"quality": {"kernel_distance": distance}})
    found = outcomes_of(RunFolder(tmp_path)).kernel_distance
    assert found is not None
    assert (found.estimate, found.n) == (0.5, 40)
    assert (found.low, found.high) == pytest.approx((0.304, 0.696))


def test_the_share_of_unusual_images_is_that_above_nineteen_in_twenty_held_out_images() -> None:
    held_out = tuple(np.linspace(0, 1, 101))
    found = Correlations((0.1, 0.5, 0.949, 0.951, 0.999), held_out).unusual
    assert found is not None
    assert found.estimate == 0.4
    assert Correlations((0.5,), ()).unusual is None


def test_a_damaged_audit_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.audit.parent.mkdir()
    for text in ("{", "[1]", '{"copy_rate": {"low": 0}}', '{"counts": 3}'):
        folder.audit.write_text(text)
        with pytest.raises(RunError, match="is damaged"):
            outcomes_of(folder)
