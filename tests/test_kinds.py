"""Pixel and latent space, standard and reversible denoiser: one chain, the same laws."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lichen.chain import read_images, run
from lichen.chain.begin import keep_config
from lichen.chain.membership import denoising_losses
from lichen.chain.training import spec_of
from lichen.config import AutoencoderConfig, DenoiserConfig, RunConfig, SamplingConfig
from lichen.errors import CheckpointError, ConfigError, RunError
from lichen.images.phantoms import phantom_source
from lichen.models.denoiser import build_denoiser
from lichen.presets import load_preset
from lichen.runs import RunFolder, read_log
from lichen.sampling import decode_images, draw_latents, draw_samples
from lichen.settings import load_settings
from lichen.training.autoencoder import normalised
from lichen.training.checkpoint import load_tensors, save_tensors
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.generator import Diffusion, load_diffusion, save_diffusion
from lichen.training.loop import Recipe, train
from lichen.training.specs import DiffusionSpec
from lichen.watch import watching
from lichen.words import in_ten_lines

SPACES = ("kl", "none")
DENOISERS = ("standard", "reversible")
SAMPLING = SamplingConfig(count=4, batch_size=4, steps=3)
RECIPE = Recipe(
    phase="diffusion",
    images=24,
    batch_size=4,
    learning_rate=1e-3,
    ema_images=8,
    gradient_clip=1.0,
    precision="fp32",
    seed=3,
    checkpoint_every_s=1e-9,
)


def tiny(space: Any, kind: Any, spatial_dims: int = 2) -> RunConfig:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", spatial_dims))
    return replace(
        config,
        images=replace(config.images, size=(16,) * spatial_dims, phantom_patients=24),
        autoencoder=replace(config.autoencoder, kind=space, images_seen=16),
        denoiser=replace(config.denoiser, kind=kind),
        training=replace(config.training, images_seen=64),
        sampling=replace(config.sampling, count=4, batch_size=4),
    )


def spec(space: Any, kind: Any) -> DiffusionSpec:
    found = spec_of(tiny(space, kind), (1, 16, 16), np.eye(4), phantom_source("2d", 4))
    assert isinstance(found, DiffusionSpec)
    return found


def perturbed(network: nn.Module) -> nn.Module:
    """The same network with weights of its own: an untrained denoiser returns 0, whatever it is given."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    return network


def generator(path: Path, space: str, kind: str) -> Diffusion:
    """One whose weights are random, written to ``path`` and read back."""
    torch.manual_seed(0)
    about = spec(space, kind)
    autoencoder, denoiser = map(perturbed, about.build())
    channels = about.latent_shape[0]
    save_diffusion(path, about, autoencoder, denoiser, torch.full((channels,), 0.1), torch.full((channels,), 0.6))
    return load_diffusion(path, torch.device("cpu"))


def denoiser(kind: str, channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return perturbed(build_denoiser(tiny("none", kind).denoiser, spatial_dims=2, latent_channels=channels))


EXAMPLES = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("kind", DENOISERS)
def test_an_interrupted_training_of_either_kind_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    loss = denoiser_loss("v", torch.device("cpu"))
    whole = train(denoiser(kind), EXAMPLES, loss, RECIPE, state_path=tmp_path / "whole.safetensors", log=lambda _: None)
    path, calls = tmp_path / "killed.safetensors", 0

    def fragile(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KilledError
        return loss(network, batch, draws)

    with pytest.raises(KilledError):
        train(denoiser(kind), EXAMPLES, fragile, RECIPE, state_path=path, log=lambda _: None)
    torch.manual_seed(99)  # what a new process has drawn before must not matter
    again = train(denoiser(kind), EXAMPLES, loss, RECIPE, state_path=path, log=lambda _: None)
    before = dict(denoiser(kind).named_parameters())
    for (name, one), other in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name
        assert not torch.equal(one, before[name]), f"{name} was not trained"
    other_kind = next(other for other in DENOISERS if other != kind)
    with pytest.raises(CheckpointError, match="another architecture"):
        train(denoiser(other_kind), EXAMPLES, loss, RECIPE, state_path=path, log=lambda _: None)


@pytest.mark.parametrize("kind", DENOISERS)
def test_bf16_trains_to_about_the_loss_of_fp32(tmp_path: Path, kind: str) -> None:
    losses: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for precision, seen in losses.items():
        recipe = replace(RECIPE, precision=precision)  # type: ignore[arg-type]  # a word from the two above

        def keep(record: Any, seen: list[float] = seen) -> None:
            seen.append(float(record["loss"]))

        loss = denoiser_loss("v", torch.device("cpu"))
        train(denoiser(kind), EXAMPLES, loss, recipe, state_path=tmp_path / f"{precision}.safetensors", log=keep)
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", DENOISERS)
def test_a_sample_has_the_same_bytes_in_any_order_and_is_close_in_another_batch(
    tmp_path: Path, space: str, kind: str
) -> None:
    made = generator(tmp_path / "g.safetensors", space, kind)
    draw_samples(made, range(4), SAMPLING, tmp_path / "all")
    for index in (3, 1):
        draw_samples(made, [index], SAMPLING, tmp_path / "one")
        for name in (f"sample-{index:06}.png", f"sample-{index:06}.json"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    whole, pairs = (
        torch.cat([decode_images(made, draw_latents(made, batch, replace(SAMPLING, batch_size=size))) for batch in of])
        for size, of in ((4, (0,)), (2, (0, 1)))
    )
    assert whole.std() > 0.1
    torch.testing.assert_close(whole, pairs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", DENOISERS)
def test_without_an_autoencoder_the_loss_of_a_voxel_reaches_the_loss_of_its_image_alone(
    tmp_path: Path, kind: str
) -> None:
    made = generator(tmp_path / "g.safetensors", "none", kind)
    assert made.spec.latent_shape == made.spec.image_shape == (1, 16, 16)
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    changed = images.clone()
    changed[1, 0, 3, 5] += 0.5
    before, after = (denoising_losses(made, given, levels=2) for given in (images, changed))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5)
    assert np.abs(after[1] / before[1] - 1).max() > 1e-4  # at one level or the other, where parts of it may cancel


def test_what_the_denoiser_sees_has_mean_0_and_deviation_1_in_each_channel_and_comes_back() -> None:
    raw = torch.randn(5, 2, 6, 7, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 0.2])[:, None, None]
    found = normalised(raw + 4)
    torch.testing.assert_close(found.values.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.values.std((0, 2, 3)), torch.ones(2))
    back = found.values * found.scale[:, None, None] + found.shift[:, None, None]
    torch.testing.assert_close(back, raw + 4)


@pytest.mark.parametrize("space", SPACES)
def test_a_generator_of_before_there_were_kinds_is_read_as_latent_and_standard(tmp_path: Path, space: str) -> None:
    path = tmp_path / "g.safetensors"
    generator(path, space, "standard")
    tensors, about = load_tensors(path, "generator")
    for part, names in {"autoencoder": ("kind", "crop"), "denoiser": ("kind", "checkpointing")}.items():
        for name in names:
            del about["spec"][part][name]
    save_tensors(path, tensors, about)
    if space == "kl":
        assert load_diffusion(path, torch.device("cpu")).spec == spec("kl", "standard")
    else:
        with pytest.raises(CheckpointError, match="of another architecture: decoder"):
            load_diffusion(path, torch.device("cpu"))


def test_a_generator_that_claims_another_kind_than_its_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    for space, kind in (("none", "standard"), ("kl", "reversible")):
        generator(path, space, kind)
        tensors, about = load_tensors(path, "generator")
        other = asdict(spec("kl" if space == "none" else "none", "standard" if kind == "reversible" else "reversible"))
        for part in ("autoencoder", "denoiser"):
            save_tensors(path, tensors, {**about, "spec": {**about["spec"], part: other[part]}})
            with pytest.raises(CheckpointError, match="another architecture"):
                load_diffusion(path, torch.device("cpu"))


@pytest.mark.parametrize(
    "crafted",
    [
        {"affine": [[10**400] * 4] * 4},
        {"window": [5.0, 1.0]},
        {"window": [math.nan, 1.0]},
        {"autoencoder": {"kind": "none", "crop": [16.0, 16.0]}},
        {"autoencoder": {"kind": "none", "crop": "ab"}},
    ],
)
def test_a_description_that_cannot_be_true_is_refused(tmp_path: Path, crafted: dict[str, Any]) -> None:
    path = tmp_path / "g.safetensors"
    generator(path, "none", "standard")
    tensors, about = load_tensors(path, "generator")
    save_tensors(path, tensors, {**about, "spec": {**about["spec"], **crafted}})
    with pytest.raises(CheckpointError, match="in a way that cannot be read"):
        load_diffusion(path, torch.device("cpu"))


@pytest.mark.parametrize("name", ["latent.shift", "latent.scale"])
def test_a_latent_scale_of_another_type_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "g.safetensors"
    generator(path, "none", "standard")
    tensors, about = load_tensors(path, "generator")
    save_tensors(path, {**tensors, name: tensors[name].double()}, about)
    with pytest.raises(CheckpointError, match="latent scale"):
        load_diffusion(path, torch.device("cpu"))


def test_without_an_autoencoder_a_memory_budget_leaves_decoding_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    free = generator(path, "none", "standard")
    bounded = load_diffusion(path, torch.device("cpu"), budget_bytes=1)
    latents = torch.randn(2, *free.spec.latent_shape)
    assert torch.equal(decode_images(bounded, latents), decode_images(free, latents))


def test_settings_of_before_there_were_kinds_mean_what_they_meant(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("autoencoder: {channels: [8, 16]}\ndenoiser: {channels: [16, 32]}\n")
    config = load_settings(path, RunConfig())
    assert (config.autoencoder, config.denoiser) == (
        AutoencoderConfig(kind="kl", channels=(8, 16)),
        DenoiserConfig(kind="standard", channels=(16, 32)),
    )


def test_a_run_folder_of_one_kind_is_refused_to_another(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    keep_config(tiny("kl", "standard"), folder)
    folder.checkpoints.mkdir(exist_ok=True)
    (folder.checkpoints / "diffusion.state.safetensors").touch()
    with pytest.raises(RunError, match=r"denoiser\.kind standard, now it is reversible"):
        keep_config(tiny("kl", "reversible"), folder)
    with pytest.raises(RunError, match=r"autoencoder\.kind kl, now it is none"):
        keep_config(tiny("none", "standard"), folder)


def test_without_an_autoencoder_sizes_need_only_suit_the_denoiser(tmp_path: Path) -> None:
    config = tiny("none", "reversible")
    odd = replace(config, images=replace(config.images, size=(18, 17)))
    with (
        watching(tmp_path, config.carbon, quiet=True) as watch,
        pytest.raises(ConfigError, match="multiple of 2") as told,
    ):
        read_images(odd, watch)
    assert told.value.fix == "give --images.size 18 16"
    with pytest.raises(ValueError, match="multiples of 4"):
        spec_of(tiny("kl", "standard"), (1, 18, 18), np.eye(4), phantom_source("2d", 4))
    assert spec_of(config, (3, 18, 18), np.eye(4), phantom_source("2d", 4)).shapes_kept == ((3, 18, 18),) * 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    """A finished run without an autoencoder, with a reversible denoiser and a probe, and its summary."""
    folder, config = RunFolder(tmp_path_factory.mktemp("pixel")), tiny("none", "reversible")
    probe = replace(config.probe, every=32, samples=4)
    return folder, run(replace(config, probe=probe), folder, command="lichen run", quiet=True)


def test_a_run_without_an_autoencoder_says_nothing_of_one(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, summary = finished
    phases = {phase["phase"] for phase in summary["energy"]["phases"]}
    assert {"read", "diffusion", "denoise", "decode", "audit", "quality"} <= phases
    assert not phases & {"autoencoder", "encode"}
    assert {phase["phase"] for phase in summary["forecast"]["phases"]} == {"diffusion", "denoise", "decode"}
    assert read_log(folder.log).keys() == {"diffusion", "probe"}
    model = summary["model"]
    assert (model["space"], model["denoiser_kind"]) == ("pixel", "reversible")
    absent = ("autoencoder_parameters", "autoencoder_images_seen", "latent_shape", "latent_scale", "reconstruction_l1")
    assert [model[name] for name in absent] == [None] * 5
    self_test = json.loads(folder.audit.read_text())["self_test"]
    assert self_test
    assert not any("autoencoder" in words for words in self_test)
    report = re.sub(r"<[^>]+>", " ", (folder.path / "report.html").read_text().partition("Provenance</h2>")[0])
    words = " ".join(report.split())
    assert "Kind of denoiser reversible Works on the voxels themselves, without an autoencoder" in words
    assert "Autoencoder" not in words
    assert "Latent" not in words
    told = in_ten_lines(summary, folder.path)
    assert f"reversible denoiser {model['denoiser_parameters'] / 1e6:.2f} M parameters, on the voxels" in told


def test_the_denoiser_of_a_run_without_an_autoencoder_learns_voxels(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    made = load_diffusion(finished[0].generator, torch.device("cpu"))
    assert made.spec.latent_shape == (1, 16, 16)
    assert list(made.autoencoder.parameters()) == []
    losses = [record["loss"] for record in read_log(finished[0].log)["diffusion"]]
    assert losses[-1] < losses[0]


def test_volumes_train_without_an_autoencoder_too(tmp_path: Path) -> None:
    config = tiny("none", "reversible", spatial_dims=3)
    images = replace(config.images, phantoms="3d", phantom_patients=8, size=(8, 8, 8))
    config = replace(config, images=images, sampling=replace(config.sampling, count=2, batch_size=2))
    summary = run(config, RunFolder(tmp_path), command="", quiet=True)
    assert summary["audit"]["tested"] == 2
    assert (summary["model"]["space"], summary["model"]["denoiser_kind"]) == ("pixel", "reversible")
