"""What each process of a team does for ``test_team.py``: train with uneven batches, stop when one is asked, audit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lichen.audit import audit
from lichen.config import AuditConfig, DenoiserConfig, DenoiserKind, StyleGAN2Config
from lichen.images import ImageSet
from lichen.models.denoiser import build_denoiser
from lichen.models.stylegan2 import StyleGenerator, build_discriminator, build_generator
from lichen.stopping import Stopped
from lichen.team import Team, joined
from lichen.training.adversarial import train_against
from lichen.training.checkpoint import load_tensors, with_prefix
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.loop import Probing, Recipe, train

RECIPE = Recipe(
    phase="test",
    images=60,
    batch_size=5,
    learning_rate=0.01,
    ema_images=8,
    gradient_clip=1.0,
    precision="fp32",
    seed=3,
    checkpoint_every_s=1e9,
)

KINDS: tuple[DenoiserKind, ...] = ("standard", "reversible")


def noisy_loss(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
    """How badly the network removes noise."""
    restored: Tensor = network(batch + 0.1 * draws.normal(batch.shape[1:]))
    return (restored - batch).square().mean() + draws.strata().mean()


def network() -> nn.Module:
    """Two convolutions."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))


def stop(folder: Path, name: str, team: Team, images: Tensor) -> None:
    """Train, and let the last process alone be asked to stop after its third step."""
    seen: list[int] = []
    state = folder / f"state-of-{team.size}.safetensors"
    try:
        train(
            network(),
            images,
            noisy_loss,
            RECIPE,
            state_path=state,
            log=lambda _: None,
            step=seen.append,
            stop=lambda: team.rank == team.size - 1 and sum(seen) == 15,
            team=team,
        )
    except Stopped:
        team.wait()
        saved = load_tensors(state, "training")[1]["images_seen"] == 15
        (folder / f"stopped-{name}.json").write_text(json.dumps({"images_seen": sum(seen), "saved": saved}))


def probe(folder: Path, name: str, team: Team, images: Tensor) -> None:
    """Train with a probe every 15 images that says stop after 45."""
    looks: list[int] = []

    def look(images_seen: int, _: nn.Module) -> bool:
        looks.append(images_seen)
        return images_seen == 45

    state = folder / f"probed-state-of-{team.size}.safetensors"
    probing = Probing(look, 15, stops=True)
    average = train(
        network(), images, noisy_loss, RECIPE, state_path=state, log=lambda _: None, team=team, probing=probing
    )
    total = sum(weight.double().sum().item() for weight in average.parameters())
    (folder / f"probed-{name}.json").write_text(json.dumps({"looks": looks, "weights": total}))


def denoise(folder: Path, name: str, team: Team, images: Tensor) -> None:
    """Train each kind of denoiser on voxels, and keep the gradients that torch's own data parallelism finds."""
    loss = denoiser_loss("v", torch.device("cpu"))
    for kind in KINDS:
        torch.manual_seed(0)
        config = DenoiserConfig(kind=kind, channels=(16, 16), blocks=1, head_channels=8)
        denoiser = build_denoiser(config, spatial_dims=2, latent_channels=1)
        with torch.no_grad():  # an untrained denoiser returns 0, whatever it is given
            for weights in denoiser.parameters():
                weights.add_(0.05 * torch.randn_like(weights))
        if team.size > 1:
            parallel = nn.parallel.DistributedDataParallel(denoiser)
            part = team.part(4)
            parallel(images[:4][part], torch.arange(100, 500, 100)[part]).square().mean().backward()
        else:
            denoiser(images[:4], torch.arange(100, 500, 100)).square().mean().backward()
        found = {key: weights.grad.clone() for key, weights in denoiser.named_parameters() if weights.grad is not None}
        save_file(found, folder / f"gradients-{kind}-{name}.safetensors")
        state = folder / f"{kind}-of-{team.size}.safetensors"
        slow = replace(RECIPE, learning_rate=1e-4)  # Adam turns rounding errors into steps where a gradient is 0
        average = train(denoiser, images, loss, slow, state_path=state, log=lambda _: None, team=team)
        save_file(dict(average.state_dict()), folder / f"{kind}-{name}.safetensors")


def players(generator: nn.Module, discriminator: nn.Module) -> dict[str, Tensor]:
    """The weights of both."""
    return {**with_prefix("average", generator.state_dict()), **with_prefix("other", discriminator.state_dict())}


def play(folder: Path, name: str, team: Team) -> None:
    """Train a StyleGAN2, of which each step of a team is one of all its processes."""
    torch.manual_seed(0)
    config = StyleGAN2Config(latent_dim=8, channels=64, most_channels=8, learning_rate=1e-4)
    networks = (build(config, size=(8, 8), channels=1) for build in (build_generator, build_discriminator))
    generator, discriminator = networks
    images = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    assert isinstance(generator, StyleGenerator)
    save_file(players(generator, discriminator), folder / f"gan-start-{name}.safetensors")
    average = train_against(
        generator,
        discriminator,
        images,
        config,
        replace(RECIPE, phase="gan", images=100, learning_rate=1e-4),
        state_path=folder / f"gan-of-{team.size}.safetensors",
        log=lambda _: None,
        team=team,
    )
    save_file(players(average, discriminator), folder / f"gan-{name}.safetensors")


def image_set(images: Tensor, who: str) -> ImageSet:
    """Each image of a patient of its own."""
    names = tuple(f"{who}-{number}" for number in range(len(images)))
    return ImageSet(images, names, tuple(f"{name}-patient" for name in names), np.eye(4))


def main() -> None:
    folder = Path(sys.argv[-1])
    torch.set_num_threads(1)
    images = torch.randn(61, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with joined() as team:
        name = f"{team.rank}-of-{team.size}"
        path = folder / f"whole-{name}.safetensors"
        average = train(network(), images, noisy_loss, RECIPE, state_path=path, log=lambda _: None, team=team)
        save_file(dict(average.state_dict()), folder / f"weights-{name}.safetensors")
        stop(folder, name, team, images)
        probe(folder, name, team, images)
        denoise(folder, name, team, images)
        play(folder, name, team)
        sets = (images[:7] + 0.01, images[:21], images[21:])
        made, known, held_out = (image_set(part, who) for part, who in zip(sets, ("s", "t", "r"), strict=True))
        found = audit(made, known, held_out, AuditConfig(scores=("pearson",), self_test=0), team=team)
        findings = [(finding.name, finding.nearest_image, finding.p_value) for finding in found.findings]
        (folder / f"audit-{name}.json").write_text(json.dumps({"verdict": found.verdict, "findings": findings}))


if __name__ == "__main__":
    main()
