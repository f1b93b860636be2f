"""A StyleGAN2 from end to end: the commands and the laws of a diffusion model, and what is not for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lichen import cli
from lichen.chain import run
from lichen.config import Precision, RunConfig, SamplingConfig, StyleGAN2Config
from lichen.errors import CheckpointError, TrainingError
from lichen.models.stylegan2 import StyleGenerator, build_discriminator, build_generator
from lichen.runs import RunFolder, read_log
from lichen.sampling import draw_images, draw_samples, missing_samples
from lichen.settings import load_settings
from lichen.training.adversarial import train_against
from lichen.training.checkpoint import load_tensors, save_tensors
from lichen.training.generator import StyleGAN2, identity, load_generator
from lichen.training.loop import Probing, Recipe
from lichen.words import in_ten_lines

TINY = Path(__file__).with_name("tiny-gan.yaml")
CPU = torch.device("cpu")
NETWORKS = StyleGAN2Config(latent_dim=8, channels=64, most_channels=8)
RECIPE = Recipe(
    phase="gan",
    images=40,
    batch_size=4,
    learning_rate=2e-3,
    ema_images=8,
    gradient_clip=1.0,
    precision="fp32",
    seed=3,
    checkpoint_every_s=1e-9,
)
EXAMPLES = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    folder = RunFolder(tmp_path_factory.mktemp("gan") / "run")
    return folder, run(load_settings(TINY, RunConfig()), folder, command="lichen run", quiet=True)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main(list(map(str, words)))
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out + said.err

    return call


def trained(state: Path, recipe: Recipe = RECIPE, **changes: Any) -> StyleGenerator:
    """The averaged generator of a small training from the same random weights."""
    torch.manual_seed(0)
    networks = [build(NETWORKS, size=(8, 8), channels=1) for build in (build_generator, build_discriminator)]
    assert isinstance(networks[0], StyleGenerator)
    options: dict[str, Any] = {"log": lambda _: None, **changes}
    return train_against(networks[0], networks[1], EXAMPLES, NETWORKS, recipe, state_path=state, **options)


def weights_of(network: torch.nn.Module) -> list[Tensor]:
    return list(network.state_dict().values())


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_interrupted_game_ends_with_the_same_bits(precision: Precision, tmp_path: Path) -> None:
    log: list[Mapping[str, float | int | str]] = []
    recipe = replace(RECIPE, precision=precision)
    whole = trained(tmp_path / "whole.safetensors", recipe, log=log.append)
    assert {weights.dtype for weights in weights_of(whole)} == {torch.float32}
    assert [record["images_seen"] for record in log] == list(range(4, 41, 4))
    assert {"generator_loss", "discriminator_loss", "r_t", "ada_p", "path_length"} <= log[-1].keys()
    for fatal in (1, 6):  # in the midst of what p is adapted by, and of what the path length waits for
        path, steps = tmp_path / f"{fatal}.safetensors", 0

        def fragile(_: int, last: int = fatal) -> None:
            nonlocal steps
            steps += 1
            if steps > last:
                raise KilledError

        with pytest.raises(KilledError):
            trained(path, recipe, step=fragile)
        again: list[Mapping[str, float | int | str]] = []
        average = trained(path, recipe, log=again.append)
        assert again == log[fatal:]
        assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(average), strict=True))


@pytest.mark.parametrize("p", [float("nan"), 1.5, -0.1, "0.5", None])
def test_a_state_whose_augmentation_is_no_probability_is_refused(p: object, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    trained(state, replace(RECIPE, images=4))
    tensors, about = load_tensors(state, "training")
    save_tensors(state, tensors, {**about, "ada_p": p})
    with pytest.raises(CheckpointError, match="lacks the state of the game"):
        trained(state)


def test_a_probe_looks_and_changes_nothing_until_it_stops_with_the_weights_before(tmp_path: Path) -> None:
    seen: dict[int, list[Tensor]] = {}

    def look(images_seen: int, average: torch.nn.Module) -> bool:
        seen[images_seen] = [value.clone() for value in weights_of(average)]
        return images_seen == 24

    stopped = trained(tmp_path / "probed.safetensors", probing=Probing(look, 8, stops=True))
    assert list(seen) == [8, 16, 24]
    assert all(torch.equal(a, b) for a, b in zip(weights_of(stopped), seen[16], strict=True))
    plain, watched = (
        trained(tmp_path / f"{every}.safetensors", probing=Probing(lambda *_: False, every, stops=False))
        for every in (8, 1000)
    )
    assert all(torch.equal(a, b) for a, b in zip(weights_of(plain), weights_of(watched), strict=True))


def test_a_game_that_is_lost_to_infinity_is_ended_before_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    torch.manual_seed(0)
    generator = build_generator(NETWORKS, size=(8, 8), channels=1)
    discriminator = build_discriminator(NETWORKS, size=(8, 8), channels=1)
    with torch.no_grad():
        next(discriminator.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="became nan after 4 images"):
        train_against(generator, discriminator, EXAMPLES, NETWORKS, RECIPE, state_path=path, log=lambda _: None)
    assert not path.exists()


def test_a_run_says_what_a_stylegan2_is_and_nothing_of_what_it_has_not(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    folder, summary = finished
    phases = {phase["phase"] for phase in summary["energy"]["phases"]}
    assert {"read", "gan", "synthesise", "audit", "quality"} <= phases
    assert not phases & {"autoencoder", "diffusion", "encode", "denoise", "decode"}
    assert {phase["phase"] for phase in summary["forecast"]["phases"]} == {"gan", "synthesise"}
    assert read_log(folder.log).keys() == {"gan", "probe"}
    assert summary["model"]["kind"] == "stylegan2"
    assert summary["model"]["gan_images_seen"] == 128
    assert not summary["sampling"].keys() & {"sampler", "schedule", "steps", "compile"}
    assert summary["footprint"]["calls_per_step"] == 0
    page, lines = (folder.path / "report.html").read_text(), in_ten_lines(summary, folder.path)
    page = page[: page.index('<section id="provenance">')]  # which shows all settings, those of other kinds too
    for words in (page, lines):
        assert "StyleGAN2" in words
        assert "one pass" in words
        assert not any(word in words for word in ("etwork calls per", "network calls each", "enoiser", "utoencoder"))
    assert all(title in page for title in ("Overfitting of the discriminator", "Augmentation", "Probes for copies"))
    assert 'id="whatif-images"' in page
    assert 'id="whatif-steps"' not in page
    assert "autoencoder" not in json.dumps(json.loads(folder.audit.read_text())["self_test"])


def test_an_image_is_a_function_of_checkpoint_seed_and_number(
    finished: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    generator = load_generator(folder.generator, CPU)
    sampling = load_settings(folder.config, RunConfig()).sampling
    there = {path.name: path.read_bytes() for path in folder.samples.iterdir()}
    assert missing_samples(folder.samples, generator, sampling) == []
    more = replace(sampling, count=11)
    draw_samples(generator, [9, 2], more, tmp_path)
    draw_samples(generator, missing_samples(tmp_path, generator, more)[::-1], more, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in there} == there
    assert len(list(tmp_path.glob("*.png"))) == 11
    whole = draw_images(generator, 0, replace(sampling, batch_size=8))
    halves = [draw_images(generator, batch, replace(sampling, batch_size=4)) for batch in (0, 1)]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=0, atol=1e-4)
    assert not torch.equal(draw_images(generator, 0, replace(sampling, batch_size=8, seed=1)), whole)


def test_truncation_takes_images_to_one_and_is_a_part_of_what_they_are(
    finished: tuple[RunFolder, dict[str, Any]], call: Call
) -> None:
    folder, _ = finished
    generator = load_generator(folder.generator, CPU)
    assert isinstance(generator, StyleGAN2)
    for name, weights in generator.network.named_parameters():
        if name.endswith("noise_strength"):
            weights.zero_()  # what remains is the style
    spread = [draw_images(generator, 0, SamplingConfig(truncation=psi)).std(0).mean().item() for psi in (1.0, 0.5, 0.0)]
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] == pytest.approx(0, abs=1e-6)
    code, said = call("sample", folder.path, "--sampling.truncation", "0.5", "--quiet")
    assert code == 2
    assert "was drawn with truncation 1.0, not 0.5" in said


def test_the_commands_on_a_finished_run_know_a_stylegan2(
    finished: tuple[RunFolder, dict[str, Any]], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished
    code, said = call("sample", folder.path, "--out", tmp_path / "more", "--sampling.truncation", "0.7", "--quiet")
    assert (code, "StyleGAN2, truncation 0.7, in batches of 4" in said) == (0, True)
    audit = ("--synthetic", tmp_path / "more", "--out", tmp_path / "audit", "--run", folder.path, "--quiet")
    assert call("audit", *audit)[0] in {0, 1, 3}
    assert call("card", folder.path, "--carbon.grid", "FR")[0] == 0
    code, said = call("whatif", folder.path, "--carbon.grid", "FR", "--samples", "100")
    assert (code, "\nsteps" in said, "the energy of synthesis grows with images" in said) == (0, False, True)
    assert call("runs", folder.path.parent)[0] == 0
    call("release", folder.path, "--out", tmp_path / "release", "--allow-inconclusive", "--max-copy-rate", "1")
    card = json.loads((tmp_path / "release" / "data-card.json").read_text())
    assert card["generator"]["kind"] == "stylegan2"
    assert card["generator"]["truncation"] == 1


def test_a_plan_of_a_stylegan2_is_forecast_by_its_own_steps(call: Call) -> None:
    code, said = call("predict", "--config", TINY, "--samples", "1000", "--quiet", "--json")
    found = json.loads(said)
    assert code == 0
    assert [phase["phase"] for phase in found["phases"]] == ["gan", "synthesise"]
    assert [phase["units"] for phase in found["phases"]] == [128, 1000]
    assert found["training_memory"]["chosen"] == found["training_memory"]["measured"] == {}
    assert found["peak_memory_bytes"] > 1e6


@pytest.mark.parametrize(
    ("words", "problem", "fix"),
    [
        (("run", "--sampling.compile"), "sampling.compile true is for diffusion", "by default it is false"),
        (("predict", "--sampling.steps", "50"), "sampling.steps 50 is for diffusion", "by default it is 20"),
        (
            ("run", "--sampling.preset", "ddim-50"),
            "sampling.sampler ddim and sampling.schedule time and sampling.steps 50 are for diffusion",
            "by default it is unipc and lu and 20",
        ),
        (("run", "--memory.budget-gb", "4"), "a StyleGAN2 has one way", "--training.batch-size 4"),
        (("predict", "--memory.budget-gb", "4"), "a StyleGAN2 has one way", "--training.batch-size 4"),
        (("run", "--denoiser.dropout", "0.1"), "denoiser.dropout 0.1 is for diffusion", "by default it is 0"),
        (("run", "--images.size", "18", "16"), "StyleGAN2 cannot make images of 18 x 16", "--images.size"),
        (("predict", "--images.phantoms", "3d", "--images.size", "16", "16", "16"), "2D images", "--images.slices"),
        (("predict", "--images.phantoms", "3d", "--images.size", "16", "16"), "2D images", "--images.slices"),
        (("run", "--model.kind", "diffusion", "--sampling.truncation", "0.5"), "no w to truncate", "it is 1.0"),
    ],
)
def test_what_is_not_for_this_kind_of_model_is_refused_in_two_lines(
    call: Call, tmp_path: Path, words: tuple[str, ...], problem: str, fix: str
) -> None:
    command, *options = words
    out = ("--out", tmp_path / "run") if command == "run" else ()
    code, said = call(command, "--config", TINY, *out, *options, "--quiet")
    assert code == 2
    error, mend = said.strip().splitlines()
    assert problem in error
    assert fix in mend


@pytest.mark.parametrize(
    "words", [("--sampling.steps", "50"), ("--memory.budget-gb", "4"), ("--denoiser.dropout", "0.1")]
)
def test_settings_of_another_kind_of_model_are_refused_before_an_image_is_read(
    call: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    call("run", "--config", TINY, "--out", tmp_path / "run", *words, "--quiet")
    assert not list((tmp_path / "run").glob("energy-*")), "nothing was begun"


def test_what_asks_a_denoiser_refuses_a_stylegan2(
    finished: tuple[RunFolder, dict[str, Any]], call: Call, tmp_path: Path
) -> None:
    folder, _ = finished
    code, said = call("sample", folder.path, "--tune", "--quiet")
    assert (code, "--tune asks a denoiser" in said) == (2, True)
    audit = ("--synthetic", folder.samples, "--out", tmp_path / "audit", "--run", folder.path)
    code, said = call("audit", *audit, "--model", folder.path, "--quiet")
    assert (code, "asks a denoiser" in said) == (2, True)
    assert not (tmp_path / "audit").exists(), "it is said before the audit, whose verdict would be lost"
    code, said = call("whatif", folder.path, "--steps", "10")
    assert (code, "draws without steps" in said) == (2, True)
    other = ("--out", tmp_path / "other")
    code, said = call("sample", folder.path, *other, "--sampling.sampler", "heun", "--quiet")
    assert (code, "sampling.sampler heun is for diffusion, and a StyleGAN2" in said) == (2, True)
    code, _ = call("sample", folder.path, *other, "--sampling.preset", "unipc-20", "--sampling.count", "1", "--quiet")
    assert code == 0, "what is as by default asks for nothing"


def test_a_checkpoint_that_describes_another_stylegan2_than_it_holds_is_refused(
    finished: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    tensors, about = load_tensors(finished[0].generator, "generator")
    assert load_generator(finished[0].generator, CPU).sha256 == identity(tensors, about)
    for name, value in (("latent_dim", 10**12), ("mapping_layers", 10**9), ("latent_dim", 24), ("channels", "many")):
        spec = {**about["spec"], "stylegan2": {**about["spec"]["stylegan2"], name: value}}
        save_tensors(tmp_path / "changed.safetensors", tensors, {**about, "spec": spec})
        with pytest.raises(CheckpointError):
            load_generator(tmp_path / "changed.safetensors", CPU)
    assert set(about["spec"]) == {"image_shape", "affine", "is_phantom", "window", "classes", "stylegan2"}
