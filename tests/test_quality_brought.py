"""Weights that a user brings: read as weights alone, refused where they do not fit, and seen by the right network."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lichen.errors import AuditError, CheckpointError, ConfigError
from lichen.quality.brought import BroughtInception, brought
from lichen.quality.inception_v3 import Inception
from lichen.quality.resnet import Plan, ResNet
from lichen.quality.weights import fill, read_weights

RADIMAGENET = Plan(2, 3, (3, 4, 6, 3), has_bottlenecks=True, width=4)
MEDICALNET = Plan(3, 1, (1, 1, 1, 1), has_bottlenecks=False, dilated=True, width=4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights_of(plan: Plan) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return ResNet(plan).state_dict()


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the layout of the published file, and of torchvision's, which has an auxiliary classifier."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    torch.save({**Inception(1008).state_dict(), "AuxLogits.fc.bias": torch.zeros(1008)}, path)
    return path


def test_inception_has_as_many_parameters_as_the_published_network() -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in Inception(1000).parameters()) == 23_834_568


def test_inception_gives_features_and_probabilities_of_grey_pictures(inception_file: Path) -> None:
    extractor, seen = brought("inception", inception_file), list[int]()
    assert isinstance(extractor, BroughtInception)
    features = extractor(images(2, 1, 32, 32), step=seen.append)
    assert features.shape == (2, 2048)
    assert features.dtype == np.float64
    assert sum(seen) == 2
    np.testing.assert_allclose(extractor.probabilities(features).sum(1), 1, rtol=1e-6)
    assert extractor.name.startswith("inception-v3-2015-12-05:")
    with pytest.raises(AuditError, match="these have 2 channels"):
        extractor(images(2, 2, 32, 32))


def test_the_graph_of_2015_scores_without_the_bias_of_its_classifier() -> None:
    torch.manual_seed(0)
    graph, other = (Inception(classes).eval() for classes in (1008, 1000))
    features = torch.zeros(1, 2048)
    with torch.inference_mode():
        for network in (graph, other):
            network.fc.bias[0] = 9.0
        assert float(graph.probabilities(features)[0, 0]) == pytest.approx(1 / 1008)
        assert float(other.probabilities(features)[0, 0]) > 0.5


@pytest.mark.parametrize("dims", [2, 3])
def test_a_residual_network_is_monais_where_nothing_is_dilated(dims: int) -> None:
    from monai.networks.nets.resnet import resnet18, resnet50

    torch.manual_seed(0)
    common = {"spatial_dims": dims, "conv1_t_stride": 2, "feed_forward": False, "widen_factor": 1 / 16}
    theirs: nn.Module
    if dims == 2:
        theirs = resnet50(n_input_channels=3, bias_downsample=False, **common)
        ours = ResNet(Plan(2, 3, (3, 4, 6, 3), has_bottlenecks=True, width=4))
    else:
        theirs = resnet18(n_input_channels=1, shortcut_type="A", **common)
        ours = ResNet(Plan(3, 1, (2, 2, 2, 2), has_bottlenecks=False, projects=False, width=4))
    ours.load_state_dict(theirs.state_dict())
    x = images(2, 3, 40, 40) if dims == 2 else images(1, 1, 24, 24, 24)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_a_dilated_network_keeps_the_size_of_its_second_stage() -> None:
    network, sizes = ResNet(MEDICALNET).eval(), dict[str, tuple[int, ...]]()
    for stage in range(1, 5):
        network.get_submodule(f"layer{stage}").register_forward_hook(
            lambda _, __, out, stage=stage: sizes.update({f"layer{stage}": tuple(out.shape[2:])})
        )
    with torch.inference_mode():
        network(images(1, 1, 32, 32, 32))
    assert sizes == {"layer1": (8,) * 3, "layer2": (4,) * 3, "layer3": (4,) * 3, "layer4": (4,) * 3}


def test_radimagenet_is_read_under_either_of_its_names(tmp_path: Path) -> None:
    weights = weights_of(RADIMAGENET)
    numbered = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    sequence = {f"backbone.{numbered[n.split('.')[0]]}.{n.partition('.')[2]}": v for n, v in weights.items()}
    torch.save(weights | {"fc.bias": torch.zeros(3)}, tmp_path / "named.pt")
    save_file(sequence, tmp_path / "sequence.safetensors")
    named, sequential = (brought("radimagenet", tmp_path / f) for f in ("named.pt", "sequence.safetensors"))
    pictures = images(2, 1, 48, 48)
    np.testing.assert_array_equal(named(pictures), sequential(pictures))
    assert named.name.startswith("radimagenet-resnet50:")


def test_medicalnet_sees_each_channel_by_itself_and_no_change_of_scale(tmp_path: Path) -> None:
    weights = {f"module.{name}": value for name, value in weights_of(MEDICALNET).items()}
    torch.save({"state_dict": weights}, tmp_path / "resnet_10.pth")
    extractor, volumes = brought("medicalnet", tmp_path / "resnet_10.pth"), images(2, 2, 16, 16, 16)
    features = extractor(volumes)
    assert extractor.name.startswith("medicalnet-resnet10:")
    np.testing.assert_allclose(extractor(volumes[:, 1:]), features[:, features.shape[1] // 2 :], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(extractor(volumes * 0.5 + 0.1), features, rtol=1e-3, atol=1e-4)


def test_an_image_with_the_wrong_number_of_axes_is_refused(tmp_path: Path) -> None:
    torch.save(weights_of(MEDICALNET), tmp_path / "w.pth")
    with pytest.raises(AuditError, match="looks at images of 3 axes"):
        brought("medicalnet", tmp_path / "w.pth")(images(2, 1, 16, 16))


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    network, weights = ResNet(MEDICALNET), weights_of(MEDICALNET)
    whole = {name: value for name, value in weights.items() if "num_batches" not in name}
    lacking = {name: value for name, value in whole.items() if name not in {"bn1.bias", "bn1.weight"}}
    for tensors, words in (
        (lacking, r"lacks 2 of its \d+ weights: bn1.weight, bn1.bias"),
        (whole | {"bn1.bias": torch.zeros(3)}, "has 1 of its weights in another shape: bn1.bias"),
        (whole | {"layer1.1.conv1.weight": torch.zeros(3)}, "1 weights that it does not have: layer1.1.conv1.weight"),
    ):
        with pytest.raises(CheckpointError, match=words):
            fill(network, tensors, tmp_path / "w.pth", "a network")


@pytest.mark.parametrize("name", ["inception", "radimagenet", "medicalnet"])
def test_weights_of_another_network_are_refused_in_two_lines(name: str, tmp_path: Path) -> None:
    torch.save({"linear.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        brought(name, tmp_path / "w.pth")
    assert len(str(caught.value).splitlines()) == 2
    assert "does not fit" in caught.value.problem


def test_a_network_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no network 'vgg'"):
        brought("vgg", tmp_path)


def _with_code(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/code/__torch__.py", "raise SystemExit")
        archive.writestr("net/constants.pkl", b"")


class Bomb:
    """Would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_a_file_that_holds_code_is_never_run(tmp_path: Path) -> None:
    _with_code(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_weights(tmp_path / "script.pt")
    torch.save({"weight": Bomb(tmp_path / "ran")}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match="cannot be read as weights alone"):
        read_weights(tmp_path / "bomb.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut short"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    if suffix == ".pth":
        assert caught.value.problem == f"{path} is not a file of weights"
        assert "download or copy it again" in caught.value.fix
        assert "torch.save(" in caught.value.fix


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1, dtype=torch.half).expand(10**6, 10**7),
        torch.zeros(3, device="meta"),
        torch.zeros(3, dtype=torch.cfloat),
        torch.tensor([1.0, float("nan")]),
        torch.tensor([1.0, float("inf")]),
    ],
    ids=["a number that is said to be many", "without memory", "complex", "NaN", "infinite"],
)
def test_weights_that_are_no_finite_numbers_in_memory_are_refused_by_name(value: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"good": torch.zeros(2), "odd": value}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no plain numbers: odd\n"):
        read_weights(tmp_path / "w.pth")


def test_an_archive_that_is_compressed_or_damaged_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["weight"].shape == (1000,)
    small = tmp_path / "small.pth"
    with zipfile.ZipFile(tmp_path / "w.pth") as whole, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match="compressed archive"):
        read_weights(small)
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content.replace(b"PK\x01\x02", b"PK\x09\x09"))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(tmp_path / "w.pth")
