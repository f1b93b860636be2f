"""Probes while training: the law of the curve, and that looking changes nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lichen.audit import find_score
from lichen.audit.probe import FALSE_STOPS, Reading, chance, rank_of, yardstick
from lichen.audit.scores import Pool
from lichen.chain import run, train_only
from lichen.chain.probing import measure_of, probes_planned
from lichen.config import ProbeConfig, RunConfig
from lichen.errors import AuditError, ConfigError, TrainingError
from lichen.files import sha256_of
from lichen.images import ImageSet, one_of_each
from lichen.presets import load_preset
from lichen.progress import silent
from lichen.runs import RunFolder, read_log
from lichen.settings import load_settings
from lichen.team import Team
from lichen.training.draws import Draws
from lichen.training.loop import Probing, Recipe, train

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.mark.parametrize(("samples", "patients", "rank"), [(3, 4, 1), (3, 4, 2), (2, 5, 3), (4, 3, 3)])
def test_the_chance_is_the_share_of_all_orders_of_samples_among_patients(
    samples: int, patients: int, rank: int
) -> None:
    size = samples + patients
    counts = [0] * (samples + 1)
    for places in itertools.combinations(range(size), samples):  # 0 is the nearest
        others = [place for place in range(size) if place not in places]
        counts[sum(place < others[rank - 1] for place in places)] += 1
    for above in range(samples + 1):
        expected = Fraction(sum(counts[above:]), comb(size, samples))
        assert chance(above, samples, rank, patients) == pytest.approx(float(expected), rel=1e-12)


def test_with_endless_patients_the_chance_is_that_of_a_binomial_test() -> None:
    n, samples, above = 100_000, 12, 3
    tail = sum(comb(samples, x) * 0.05**x * 0.95 ** (samples - x) for x in range(above, samples + 1))
    assert chance(above, samples, rank_of(n), n) == pytest.approx(tail, rel=1e-2)


def test_few_patients_make_a_rise_harder_to_show_than_a_binomial_test_would() -> None:
    assert chance(6, 32, rank_of(39), 39) > 5 * chance(6, 32, rank_of(10_000), 10_000)


def test_a_training_without_copies_is_stopped_in_at_most_one_of_twenty() -> None:
    rng, probes, n, samples = np.random.default_rng(0), 20, 60, 32
    stopped = 0
    for _ in range(2000):
        patients = np.sort(rng.random(n))
        above = (rng.random((probes, samples)) > patients[-rank_of(n)]).sum(1)
        stopped += any(
            Reading(samples, int(x), 0.0, chance(int(x), samples, rank_of(n), n)).rises(probes) for x in set(above)
        )
    assert stopped / 2000 <= FALSE_STOPS


def test_one_more_probe_asks_for_no_less_evidence() -> None:
    at = [next(x for x in range(33) if Reading(32, x, 0.0, chance(x, 32, 3, 60)).rises(k)) for k in (1, 5, 20, 100)]
    assert at == sorted(at)
    assert at[0] < at[-1] < 32


def pictures(count: int, seed: int) -> Tensor:
    return torch.rand((count, 1, 6, 6), generator=torch.Generator().manual_seed(seed))


def test_copies_are_above_and_new_images_are_not() -> None:
    train_set, held_out = pictures(20, 0), pictures(30, 1)
    ruler = yardstick("pearson", train_set, [f"p{i // 2}" for i in range(20)], held_out)
    copies = train_set[:8] + 0.01 * pictures(8, 2)
    assert ruler.read(copies).above == 8
    assert ruler.read(copies).rises(20)
    assert not ruler.read(pictures(8, 3)).rises(1)
    mixed = ruler.read(torch.cat([copies[:2], torch.zeros(3, 1, 6, 6)]))
    assert (mixed.samples, mixed.above, mixed.share) == (2, 2, 1.0)
    nothing = ruler.read(torch.zeros(3, 1, 6, 6))
    assert (nothing.samples, nothing.share, nothing.mean_score, nothing.p_value) == (0, None, None, 1.0)


def test_the_mean_image_of_a_training_that_has_only_begun_is_no_copy() -> None:
    common = 2 * pictures(1, 9)
    train_set, held_out = common + pictures(20, 0), common + pictures(60, 1)
    ruler = yardstick("pearson", train_set, [f"p{i}" for i in range(20)], held_out)
    mean = train_set.mean(0, keepdim=True) + 0.05 * pictures(16, 2)
    assert (
        find_score("pearson").prepare(Pool(train_set, torch.arange(20)))(mean, k=1, step=silent).similarity.min() > 0.9
    )
    assert not ruler.read(mean).rises(1)
    assert ruler.read(train_set[:16] + 0.05 * pictures(16, 2)).rises(20)


def test_held_out_images_without_contrast_are_no_yardstick() -> None:
    with pytest.raises(AuditError, match="no held-out image"):
        yardstick("pearson", pictures(4, 0), ["a", "b", "c", "d"], torch.zeros(3, 1, 6, 6))


def test_each_held_out_patient_counts_once_by_an_image_drawn_for_the_patient() -> None:
    patients = [f"patient-{number % 60}" for number in range(240)]
    images = ImageSet(pictures(240, 0), tuple(map(str, range(240))), tuple(patients), np.eye(4))
    drawn = one_of_each(images)
    assert drawn.patients == tuple(patients[:60])
    assert torch.equal(drawn.voxels, images.voxels[[int(name) for name in drawn.names]])
    assert {int(name) // 60 for name in drawn.names} == {0, 1, 2, 3}


RECIPE = Recipe("test", 64, 4, 0.01, 8, 1.0, "fp32", 1, 0.0)
EXAMPLES = torch.linspace(-1, 1, 10)[:, None]


def loss(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
    error: Tensor = network(batch) - 2 * batch - 1 + 0.1 * draws.normal((1,))
    return error.square().mean()


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def weights(network: nn.Module) -> list[float]:
    return [value for part in network.parameters() for value in part.detach().flatten().tolist()]


class KilledError(Exception):
    """Stands for the end of the process."""


class Looks:
    """A probe that keeps what it saw, and stops, or dies, at given positions."""

    def __init__(self, *, stop_at: int | None = None, die_at: int | None = None) -> None:
        self.seen: dict[int, list[float]] = {}
        self.stop_at, self.die_at = stop_at, die_at

    def __call__(self, images_seen: int, average: nn.Module) -> bool:
        torch.rand(7)  # a probe that draws from the common source of random numbers still changes nothing
        self.seen[images_seen] = weights(average)
        if images_seen == self.die_at:
            raise KilledError
        return images_seen == self.stop_at


def trained(
    path: Path, looks: Looks | None, every: int = 12, *, stops: bool = True, log: list[Any] | None = None
) -> Any:
    probing = None if looks is None else Probing(looks, every, stops)
    found = [] if log is None else log
    return weights(train(line(), EXAMPLES, loss, RECIPE, state_path=path, log=found.append, probing=probing))


@pytest.mark.parametrize("every", [1, 4, 12, 30])
def test_a_training_with_probes_ends_with_the_bits_of_one_without(every: int, tmp_path: Path) -> None:
    looks = Looks()
    assert trained(tmp_path / "a", looks, every) == trained(tmp_path / "b", None)
    assert list(looks.seen) == [at for at in range(4, 65, 4) if at // every > (at - 4) // every]


def test_a_stop_keeps_the_averaged_weights_of_the_probe_before(tmp_path: Path) -> None:
    looks, log = Looks(stop_at=48), list[Mapping[str, Any]]()
    assert trained(tmp_path / "a", looks, log=log) == looks.seen[36]
    assert list(looks.seen) == [12, 24, 36, 48]
    assert log[-1] == {"phase": "stop", "images_seen": 48, "kept_images_seen": 36}


@pytest.mark.parametrize("die_at", [36, 48])
def test_a_killed_training_sees_the_same_probes_and_stops_at_the_same_place(die_at: int, tmp_path: Path) -> None:
    whole = Looks(stop_at=48)
    kept = trained(tmp_path / "whole", whole)
    first, second = Looks(stop_at=48, die_at=die_at), Looks(stop_at=48)
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", first)
    assert trained(tmp_path / "killed", second) == kept
    assert first.seen | second.seen == whole.seen
    assert min(second.seen) == die_at, "it went on from the state before the kill"


def test_a_stop_at_the_first_probe_has_nothing_to_keep_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="already the first probe"):
        trained(tmp_path / "a", Looks(stop_at=12))


def test_a_state_holds_kept_weights_only_where_a_probe_may_stop(tmp_path: Path) -> None:
    trained(tmp_path / "a", Looks(), stops=False)
    trained(tmp_path / "b", None)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    trained(tmp_path / "c", Looks())
    assert (tmp_path / "c").stat().st_size > (tmp_path / "b").stat().st_size


class Follower(Team):
    """A process that does not lead, with the whole batch."""

    @property
    def leads(self) -> bool:
        return False


def test_only_the_process_that_leads_looks(tmp_path: Path) -> None:
    looks = Looks()
    train(
        line(),
        EXAMPLES,
        loss,
        RECIPE,
        state_path=tmp_path / "a",
        log=print,
        team=Follower(),
        probing=Probing(looks, 4, True),
    )
    assert not looks.seen


def test_settings_of_probes_that_cannot_be_are_refused() -> None:
    for wrong in ({"every": 0}, {"samples": 1}, {"stop": True}):
        with pytest.raises(ConfigError):
            ProbeConfig(**wrong)


@pytest.mark.parametrize(("every", "planned"), [(None, 0), (100, 6), (640, 1), (1000, 0), (1, 20)])
def test_no_more_probes_come_than_the_chances_are_shared_among(every: int | None, planned: int) -> None:
    config = RunConfig()
    training = replace(config.training, images_seen=640, batch_size=32)
    assert probes_planned(replace(config, training=training, probe=ProbeConfig(every=every))) == planned


def tiny(probe: ProbeConfig) -> RunConfig:
    config = load_settings(TINY, load_preset("demo", 2))
    return replace(config, probe=probe)


def test_a_run_logs_the_curve_shows_it_and_has_the_weights_of_one_without(tmp_path: Path) -> None:
    plain, probed = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / "probed")
    train_only(tiny(ProbeConfig()), plain, quiet=True)
    run(tiny(ProbeConfig(every=320, samples=4, quality=True)), probed, command="lichen run", quiet=True)
    assert sha256_of(plain.generator) == sha256_of(probed.generator)
    curve = read_log(probed.log)["probe"]
    assert [point["images_seen"] for point in curve] == [320, 640]
    assert all(point["n"] == 4 and 0 <= point["share"] <= 1 and 0 < point["p_value"] <= 1 for point in curve)
    assert all(point["distance"] > 0 < point["distance_error"] for point in curve), "4 samples of hardly any training"
    assert len({point["distance_real_high"] for point in curve}) == 1
    assert all(title in probed.report.read_text() for title in ("Probes for copies", "Probes of quality"))
    assert {phase["phase"] for phase in json.loads(probed.summary.read_text())["energy"]["phases"]} >= {"diffusion"}


def test_probes_of_quality_see_samples_come_nearer_to_held_out_images() -> None:
    generator = torch.Generator().manual_seed(0)
    held_out, train, more = (torch.rand((12, 1, 16, 16), generator=generator) * 2 - 1 for _ in range(3))
    measure = measure_of(held_out, train, samples=8)
    found = [measure(share * more + (share - 1)) for share in (0.2, 0.6, 1.0)]
    assert [record["distance"] for record in found] == sorted((record["distance"] for record in found), reverse=True)
    assert found[0]["distance"] > found[0]["distance_real_high"] > found[2]["distance"]


def test_a_run_whose_probe_stops_says_how_many_images_its_weights_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rising = iter([False, False, True])
    monkeypatch.setattr(Reading, "rises", lambda *_: next(rising))
    folder = RunFolder(tmp_path / "stopped")
    summary = run(tiny(ProbeConfig(every=160, samples=4, stop=True)), folder, command="lichen run")
    assert "copying has begun" in capsys.readouterr().err
    assert summary["model"]["denoiser_images_seen"] == 320
    assert read_log(folder.log)["diffusion"][-1]["images_seen"] < 640
    assert "with the weights after 320 images" in folder.report.read_text()
