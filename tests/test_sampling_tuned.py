"""Tuning: what it chooses, what it keeps in the checkpoint, and that samples stay what they were."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lichen import cli
from lichen.chain import train_only
from lichen.chain.tuning import _Search, faded
from lichen.config import AutoencoderConfig, CarbonConfig, DenoiserConfig, SamplingConfig
from lichen.diffusion import GaussianMixture, process_of
from lichen.energy import NO_READING
from lichen.errors import BUDGET_CODE, CheckpointError
from lichen.files import sha256_of
from lichen.presets import load_preset
from lichen.quality.estimates import Estimate
from lichen.quality.features import random_features
from lichen.quality.kernel import squared_mmd
from lichen.quality.paired import is_within, paired_squared_mmd, scaling, seed_to_seed, upper_bound
from lichen.runs import RunFolder
from lichen.sampling import Tuned, read_tuned
from lichen.sampling.choice import Setting, candidates, cheapest, gets_worse, paid_back_after
from lichen.sampling.compiling import BreakEven
from lichen.sampling.tuned import keep_tuned
from lichen.settings import load_settings
from lichen.training.checkpoint import load_tensors, save_tensors
from lichen.training.generator import Diffusion, load_diffusion
from lichen.training.specs import DiffusionSpec
from lichen.watch import watching

TINY = Path(__file__).with_name("tiny.yaml")
CPU = torch.device("cpu")
TUNED = Tuned("ddim", "time", 3, 4, 50, "ddim-250", 64, 0.001, 0.002, 0.003, 0.05, 0.1, "2026-01-01")

# --- the choice


def test_compiling_pays_from_the_calls_whose_savings_are_what_it_took() -> None:
    even = BreakEven(compile_cost=80.0, eager_cost=0.015, compiled_cost=0.010)
    assert even.calls == pytest.approx(16_000)
    assert not even.pays(15_999)
    assert even.pays(16_001)
    assert BreakEven(80.0, 0.010, 0.010).calls is None
    assert not BreakEven(80.0, 0.010, 0.011).pays(1e12)


def test_the_least_cost_is_taken_and_of_equal_ones_the_first() -> None:
    assert cheapest([5.0, 3.0, 2.0, 2.5]) == 2
    assert cheapest([5.0, 2.05, 2.0, 2.01]) == 1
    assert not gets_worse([5.0])
    assert not gets_worse([5.0, 2.0, 2.15])
    assert gets_worse([5.0, 2.0, 2.25])


def test_a_cost_is_paid_back_by_the_first_image_that_makes_the_savings_larger() -> None:
    assert paid_back_after(10.0, 3.0, 1.0) == 6
    assert paid_back_after(0.0, 3.0, 1.0) == 1
    assert paid_back_after(10.0, 1.0, 1.0) is None
    assert paid_back_after(10.0, 1.0, 2.0) is None


def test_settings_are_tried_from_cheap_to_dear_and_none_is_as_dear_as_the_reference() -> None:
    calls = [setting.calls for setting in candidates(50)]
    assert calls == sorted(calls)
    assert 0 < calls[-1] < 50
    assert {setting.sampler for setting in candidates(250)} == {"unipc", "dpmpp-2m", "ddim"}
    assert not candidates(5)


# --- the distance


def test_the_paired_distance_is_zero_for_equal_images_and_that_of_two_sets_for_independent_ones() -> None:
    numbers = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 6, generator=numbers, dtype=torch.float64).numpy() for _ in range(2))
    assert paired_squared_mmd(x, x) == Estimate(0.0, 0.0)
    shifted = paired_squared_mmd(x, y + 0.5)
    alone = squared_mmd(x, y + 0.5)
    assert shifted.value == pytest.approx(alone.value, abs=3 * alone.standard_error)
    assert shifted.low > 0


def test_the_paired_distance_is_the_mean_over_all_pairs_of_different_images() -> None:
    x, y = (torch.randn(8, 3, generator=torch.Generator().manual_seed(s), dtype=torch.float64).numpy() for s in (1, 2))

    def k(a: Any, b: Any) -> float:
        return float((a @ b / 3 + 1) ** 3)

    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    terms = [k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j]) for i, j in pairs]
    assert paired_squared_mmd(x, y).value == pytest.approx(sum(terms) / len(pairs))


def test_a_pair_of_sets_of_other_seeds_exceeds_the_margin_in_about_the_share_of_the_level() -> None:
    numbers = torch.Generator().manual_seed(3)
    above = 0
    for _ in range(100):
        images = torch.randn(32, 5, generator=numbers, dtype=torch.float64).numpy()
        one, other = (torch.randn(16, 5, generator=numbers, dtype=torch.float64).numpy() for _ in range(2))
        above += paired_squared_mmd(one, other).value > seed_to_seed(images, 0.2)
    assert 8 <= above <= 34  # binomial(100, 0.2) with the margin's own error


def test_more_settings_to_try_and_a_smaller_level_ask_for_more_certainty() -> None:
    found = Estimate(0.0, 1.0)
    assert upper_bound(found, 0.05, 1) == pytest.approx(1.645, abs=1e-3)
    assert upper_bound(found, 0.05, 20) == pytest.approx(2.807, abs=1e-3)
    assert is_within(found, 1.7, 0.05, 1)
    assert not is_within(found, 1.7, 0.05, 20)
    assert not is_within(Estimate(math.nan, 0.0), 1.0, 0.05, 1)


# --- the search, with a denoiser that is exact


class Exact(nn.Module):
    """The v-prediction that belongs to the exact denoiser of a mixture; counts its calls."""

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__()
        self.mixture, self.images = mixture, 0
        self.device_of = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x_t: Tensor, time_steps: Tensor) -> Tensor:
        self.images += len(x_t)
        process = process_of("v")
        # the inverse of the interpolation between time steps, which is linear in the clock
        clocks = process.clock(process.sigmas)
        before = min(int(time_steps[0]), len(clocks) - 2)
        sigma = process.sigma_at_clock(torch.lerp(clocks[before], clocks[before + 1], time_steps[0].double() - before))
        level = process.level(sigma)
        alpha = level.alpha
        x0 = self.mixture.denoise(x_t / alpha, sigma)
        return ((alpha * x_t - x0) / (alpha * sigma)).to(x_t)


class AsItIs(nn.Module):
    """An autoencoder whose latents are the images."""

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def exact_generator() -> Diffusion:
    shape = (1, 16, 16)
    numbers = torch.Generator().manual_seed(5)
    ramp = torch.linspace(-0.8, 0.8, 16)
    means = torch.stack([ramp.expand(16, 16), ramp[:, None].expand(16, 16), torch.zeros(16, 16)])[:, None]
    mixture = GaussianMixture(
        means + 0.05 * torch.randn(3, *shape, generator=numbers), torch.full((3,), 0.2), torch.full((3,), 1 / 3)
    )
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    networks = AutoencoderConfig(channels=(8,), latent_channels=1), DenoiserConfig(channels=(8,))
    spec = DiffusionSpec(shape, affine, *networks, "v", is_phantom=True)
    return Diffusion(spec, AsItIs(), Exact(mixture), torch.zeros(1), torch.ones(1), "")


def search(generator: Diffusion, tmp_path: Path, images: int = 32) -> Any:
    before = SamplingConfig(count=8, sampler="ddim", schedule="time", steps=50)
    with watching(tmp_path, CarbonConfig(), quiet=True) as watch:
        return _Search(generator, before, "ddim-50", images, (), watch).search()


def test_with_an_exact_denoiser_fewer_calls_than_the_reference_will_do(tmp_path: Path) -> None:
    found = search(exact_generator(), tmp_path)
    calls = Setting(found.tuned.sampler, found.tuned.schedule, found.tuned.steps).calls
    assert calls < 50
    assert found.tuned.distance_high <= found.tuned.margin
    assert found.trials[-1].is_within
    assert not any(trial.is_within for trial in found.trials[:-1])
    assert found.tuned_cost.energy == NO_READING  # no meters were given: compared in seconds, and never called joules
    assert not found.in_joules
    assert found.amount(found.tuned_cost) == found.tuned_cost.s > 0
    assert not [path for path in tmp_path.rglob("*") if not path.name.startswith("energy-")]


def test_a_setting_whose_images_are_paler_is_refused(tmp_path: Path) -> None:
    images = torch.randn(32, 1, 16, 16, generator=torch.Generator().manual_seed(0)).cumsum(2).div(4)
    raw = random_features(images)
    scaled = scaling(raw)
    margin = seed_to_seed(scaled(raw))

    def passes(loss: float) -> bool:
        return is_within(
            paired_squared_mmd(scaled(random_features(faded(images, loss))), scaled(raw)), margin, 0.05, 20
        )

    assert passes(0.001)
    assert not passes(0.5)
    torch.testing.assert_close(faded(images, 0.3).std((2, 3)), 0.7 * images.std((2, 3)))


# --- the checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("tuned") / "run")
    config = load_settings(TINY, load_preset("demo", 2))
    fewer = replace(config, autoencoder=replace(config.autoencoder, images_seen=64))
    train_only(replace(fewer, training=replace(fewer.training, images_seen=128)), folder, quiet=True)
    return folder


@pytest.fixture
def checkpoint(trained: RunFolder, tmp_path: Path) -> Path:
    path = tmp_path / "g" / "generator.safetensors"
    path.parent.mkdir()
    path.write_bytes(trained.generator.read_bytes())
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    def call(*words: object) -> tuple[int, Any]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([*map(str, words), "--quiet"])
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out if not exit_.value.code else said.err

    return call


Call = Callable[..., tuple[int, Any]]


def test_a_record_of_tuning_changes_the_file_and_not_the_generator_or_its_samples(checkpoint: Path) -> None:
    before, bytes_before = load_diffusion(checkpoint, CPU), sha256_of(checkpoint)
    keep_tuned(checkpoint, TUNED)
    after = load_diffusion(checkpoint, CPU)
    assert read_tuned(checkpoint) == TUNED
    assert sha256_of(checkpoint) != bytes_before
    assert after.sha256 == before.sha256
    keep_tuned(checkpoint, replace(TUNED, steps=9))  # a second tuning takes its place
    assert read_tuned(checkpoint) == replace(TUNED, steps=9)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["generator.safetensors"]


def test_a_generator_of_other_weights_or_another_description_is_another_one(checkpoint: Path) -> None:
    tensors, about = load_tensors(checkpoint, "generator")
    before = load_diffusion(checkpoint, CPU).sha256
    save_tensors(checkpoint, {**tensors, "latent.shift": tensors["latent.shift"] + 1}, about)
    shifted = load_diffusion(checkpoint, CPU).sha256
    save_tensors(checkpoint, tensors, {**about, "spec": {**about["spec"], "window": [-100.0, 100.0]}})
    assert len({before, shifted, load_diffusion(checkpoint, CPU).sha256}) == 3


@pytest.mark.parametrize(
    "crafted",
    [
        "unipc",
        {**asdict(TUNED), "sampler": "rm -rf"},
        {**asdict(TUNED), "sampler": ["unipc"]},
        {**asdict(TUNED), "steps": 10**12},
        {**asdict(TUNED), "steps": 1},
        {**asdict(TUNED), "batch_size": "8"},
        {**asdict(TUNED), "batch_size": 10**9},
        {**asdict(TUNED), "compile_from": -1},
        {**asdict(TUNED), "compile_from": "soon"},
        {**asdict(TUNED), "margin": math.nan},
        {**asdict(TUNED), "distance": 10**400},
        {**asdict(TUNED), "least_contrast_loss": [1]},
        {**asdict(TUNED), "command": "x"},
        {"sampler": "unipc"},
    ],
)
def test_a_record_that_says_nothing_possible_is_refused(checkpoint: Path, crafted: Any) -> None:
    tensors, about = load_tensors(checkpoint, "generator")
    save_tensors(checkpoint, tensors, {**about, "tuned": crafted})
    with pytest.raises(CheckpointError, match="--tune"):
        read_tuned(checkpoint)


def test_a_checkpoint_that_was_never_tuned_has_no_record(checkpoint: Path) -> None:
    assert read_tuned(checkpoint) is None
    assert read_tuned(checkpoint.with_name("none")) is None


# --- the command


def test_tuning_a_run_keeps_what_it_found_and_is_told_with_what_it_cost(
    trained: RunFolder, call: Call, tmp_path: Path
) -> None:
    before = {path for path in trained.path.rglob("*") if path.is_file()}
    identity = load_diffusion(trained.generator, CPU).sha256
    code, said = call("sample", trained.path, "--tune", "--tune.reference", "ddim-50", "--tune.images", "8", "--json")
    assert code == 0
    found = json.loads(said)
    tuned = read_tuned(trained.generator)
    assert tuned is not None
    assert found["tuned"] == asdict(tuned)
    assert (tuned.reference, tuned.images) == ("ddim-50", 8)
    assert found["trials"][0]["network_calls"] < found["reference"]["steps"]
    assert found["spent"]["duration_s"] > 0
    assert found["compiling"] is None  # ten images cannot pay for it
    assert load_diffusion(trained.generator, CPU).sha256 == identity
    assert {path for path in trained.path.rglob("*") if path.is_file()} == before, "tuning leaves no files"
    phases = {line.get("phase") for line in map(json.loads, trained.traces[0].read_text().splitlines())}
    assert "tune" in phases


def test_what_was_tuned_is_the_default_that_options_replace(checkpoint: Path, call: Call, tmp_path: Path) -> None:
    keep_tuned(checkpoint, replace(TUNED, compile_from=None))

    def drawn(name: str, *options: object) -> dict[str, Any]:
        code, said = call("sample", checkpoint, "--out", tmp_path / name, "--sampling.count", "5", *options)
        assert code == 0, said
        assert ("as the checkpoint was tuned" in said) == (not options)
        return dict(json.loads((tmp_path / name / "sample-000000.json").read_text()))

    plain = drawn("plain")
    assert (plain["sampler"], plain["schedule"], plain["steps"], plain["batch_size"]) == ("ddim", "time", 3, 4)
    assert plain["compile"] is False
    asked = drawn("asked", "--sampling.steps", "2", "--sampling.batch-size", "2")
    assert (asked["sampler"], asked["steps"], asked["batch_size"]) == ("ddim", 2, 2)
    keep_tuned(checkpoint, replace(TUNED, compile_from=None, steps=4))
    first = (tmp_path / "asked" / "sample-000001.png").read_bytes()
    assert drawn("asked", "--sampling.count", "6")["steps"] == 2  # a folder goes on as it was begun
    assert (tmp_path / "asked" / "sample-000001.png").read_bytes() == first
    code, said = call("sample", checkpoint, "--out", tmp_path / "asked", "--sampling.steps", "5")
    assert code == 2
    assert "drawn with steps 2, not 5" in said


def test_the_samples_of_a_run_itself_are_as_its_settings_say(trained: RunFolder, call: Call) -> None:
    keep_tuned(trained.generator, replace(TUNED, compile_from=None))
    assert call("sample", trained.path)[0] == 0
    assert json.loads((trained.samples / "sample-000000.json").read_text())["steps"] == 4


def test_compiling_is_the_default_where_as_many_images_are_asked_for_as_pay_for_it() -> None:
    assert not TUNED.settings(SamplingConfig(count=49)).compile
    assert TUNED.settings(SamplingConfig(count=50)).compile
    assert not replace(TUNED, compile_from=None).settings(SamplingConfig(count=10**9)).compile


def test_a_tuned_batch_is_no_larger_than_the_images_that_are_asked_for() -> None:
    assert [TUNED.settings(SamplingConfig(count=count)).batch_size for count in (1, 3, 4, 50)] == [1, 3, 4, 4]


def test_samples_that_name_their_generator_by_its_file_are_those_of_another_one(
    checkpoint: Path, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    assert call("sample", checkpoint, "--out", folder, "--sampling.count", "1", "--sampling.steps", "2")[0] == 0
    sidecar = folder / "sample-000000.json"
    told = {**json.loads(sidecar.read_text()), "checkpoint_sha256": sha256_of(checkpoint)}
    del told["compile"]
    sidecar.write_text(json.dumps(told))
    code, said = call("sample", checkpoint, "--out", folder, "--sampling.count", "1")
    assert code == 2
    assert "checkpoint_sha256" in said
    assert "another folder" in said


def test_impossible_tunings_are_refused(trained: RunFolder, call: Call) -> None:
    for words, problem in (
        (("--tune.images", "3"), "tune.images is 3"),
        (("--tune.reference", "ddpm-1000"), "ddim-250"),
    ):
        code, said = call("sample", trained.path, "--tune", *words)
        assert code == 2
        assert problem in said


def test_tuning_keeps_within_the_memory_budget_of_sampling(checkpoint: Path, call: Call) -> None:
    words = ("--tune.images", "8", "--tune.reference", "ddim-50", "--memory.budget-gb", "0.00001")
    before = read_tuned(checkpoint)
    code, said = call("sample", checkpoint, "--tune", *words)
    assert code == BUDGET_CODE
    assert "too little for the autoencoder" in said
    assert read_tuned(checkpoint) == before


def test_a_run_without_a_generator_cannot_be_tuned_and_is_told_so(tmp_path: Path, call: Call) -> None:
    code, said = call("sample", tmp_path, "--tune")
    assert code == 2
    assert "generator.safetensors does not exist" in said
