"""The reversible U-Net: what it recomputes is what was, and its gradients are those of ordinary autograd."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lichen.config import DenoiserConfig
from lichen.errors import ConfigError
from lichen.memory import measure_peak_memory
from lichen.models import ReversibleUNet, check_gradients
from lichen.models.denoiser import build_denoiser, downsampling
from lichen.models.layout import set_layout
from lichen.models.reversible.branches import AttentionBranch, ConvolutionBranch
from lichen.models.reversible.chain import Chain, Coupling, Step, run_reversibly
from lichen.models.reversible.convolution import CONVOLUTIONS, convolve_activated
from lichen.models.reversible.resampling import Descent, depth_to_space, space_to_depth

GRID = 2**-12


def unet(dims: int = 2, **settings: Any) -> ReversibleUNet:
    """A small network none of whose weights are zero."""
    torch.manual_seed(0)
    chosen: dict[str, Any] = {
        "channels": (8, 16),
        "num_res_blocks": 1,
        "attention_levels": (False, True),
        "norm_num_groups": 4,
    } | settings
    network = ReversibleUNet(dims, 2, 2, **chosen)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def images(dims: int = 2, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 2, *(8,) * dims, generator=generator), 1000 * torch.rand(batch, generator=generator)


def gradients(network: nn.Module, x: Tensor, timesteps: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    network(x, timesteps).square().sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("dims", [2, 3])
def test_space_to_depth_halves_every_axis_and_is_undone_exactly(dims: int) -> None:
    x = torch.randn(2, 3, *(4, 6, 8)[:dims])
    folded = space_to_depth(x)
    assert folded.shape == (2, 3 * 2**dims, *(2, 3, 4)[:dims])
    assert torch.equal(folded[:, 0], x[:, 0, ::2, ::2, ::2] if dims == 3 else x[:, 0, ::2, ::2])
    assert torch.equal(depth_to_space(folded), x)


def steps(kind: str) -> Step:
    torch.manual_seed(0)
    convolution = Coupling(ConvolutionBranch(2, 8, 12, 6, 4))
    attention = Coupling(AttentionBranch(8, 4, 6, 4))
    found: dict[str, Step] = {
        "convolution": convolution,
        "attention": attention,
        "descent": Descent(2, Chain([convolution])),
        "chain": Chain([attention, Descent(2, Chain([convolution])), copy.deepcopy(convolution)]),
    }
    step = found[kind]
    for parameter in step.parameters():
        nn.init.normal_(parameter, std=0.3)
    return step.double()


@pytest.mark.parametrize("kind", ["convolution", "attention", "descent", "chain"])
def test_each_step_is_undone_and_its_gradient_is_that_of_autograd(kind: str) -> None:
    step = steps(kind)
    before = [torch.randn(2, 8, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    embedding = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    after = step((before[0], before[1]), embedding)
    towards = [torch.randn_like(stream) for stream in after]
    leaves = [*before, embedding, *step.parameters()]
    expected = torch.autograd.grad(after, leaves, towards)
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    given = [stream.detach().clone() for stream in after]
    state, found = step.undo((given[0], given[1]), (towards[0], towards[1]), embedding)

    torch.testing.assert_close(state, tuple(stream.detach() for stream in before))
    torch.testing.assert_close((*found, embedding.grad, *(p.grad for p in step.parameters())), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_are_those_of_ordinary_autograd(dims: int) -> None:
    assert check_gradients(unet(dims), *images(dims)).largest < 1e-5


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_on_a_grid_gradients_are_bitwise_those_of_ordinary_autograd(dims: int, bf16: bool, channels_last: bool) -> None:
    network = unet(dims, grid=GRID, attention_levels=(True, True))
    if channels_last:
        set_layout(network, torch.channels_last if dims == 2 else torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert check_gradients(network, *images(dims)).bitwise


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("frozen", [(), ("norm.weight", "norm.bias", "x"), ("convolution.weight", "convolution.bias")])
def test_a_convolution_that_stores_its_input_alone_is_norm_silu_and_convolution(
    dims: int, frozen: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"norm": nn.GroupNorm(2, 4), "convolution": CONVOLUTIONS[dims](4, 3, 3, padding=1)}).double()
    norm, convolution = parts["norm"], parts["convolution"]
    assert isinstance(norm, nn.GroupNorm)
    x = torch.randn(2, 4, *(5,) * dims, dtype=torch.float64)
    leaves = {"x": x} | dict(parts.named_parameters())
    wanted = [leaf.requires_grad_(name not in frozen) for name, leaf in leaves.items() if name not in frozen]
    for name in frozen:
        leaves[name].requires_grad_(False)
    with torch.no_grad():
        norm.weight.normal_()
    expected, found = convolution(functional.silu(norm(x))), convolve_activated(x, norm, convolution)
    torch.testing.assert_close(found, expected)
    towards = torch.randn_like(expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, wanted, towards) for out in (found, expected)))


def test_gradients_that_others_read_too_are_not_written_to() -> None:
    step = steps("chain")
    a, b, other = (torch.randn(2, 8, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    embedding = torch.randn(2, 6, dtype=torch.float64)

    def found(after: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad((after[0] + other + after[1]).square().sum(), (a, b, other))

    torch.testing.assert_close(found(run_reversibly(step, (a, b), embedding)), found(step((a, b), embedding)))


def test_without_a_grid_the_recomputed_state_is_not_exact() -> None:
    assert not check_gradients(unet(), *images()).bitwise


def test_a_wrong_inverse_is_found() -> None:
    network = unet()
    coupling = network.chain.steps[0]
    assert isinstance(coupling, Coupling)
    undo = coupling.undo
    coupling.undo = lambda state, towards, embedding: undo((state[0].flip(-1), state[1]), towards, embedding)  # type: ignore[method-assign]
    assert check_gradients(network, *images()).largest > 1e-3


def test_backward_uses_the_autocast_of_forward() -> None:
    network, (x, t) = unet(), images()
    with torch.autocast("cpu", torch.bfloat16):
        inside = network(x, t).float().square().sum()
    found = torch.autograd.grad(inside, list(network.parameters()))
    network.invert = False
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.autograd.grad(network(x, t).float().square().sum(), list(network.parameters()))
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm()) <= 0.02 * float(other.norm()) + 1e-6


def test_a_retained_graph_gives_the_same_gradients_twice() -> None:
    network, (x, t) = unet(), images()
    loss = network(x, t).square().sum()
    once = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    twice = torch.autograd.grad(loss, list(network.parameters()))
    assert all(map(torch.equal, once, twice))


def test_gradients_of_two_uses_in_one_graph_add_up() -> None:
    network, (x, t) = unet(), images()
    first, second = gradients(network, x, t), gradients(network, x + 1, t)
    network.zero_grad()
    (network(x, t).square().sum() + network(x + 1, t).square().sum()).backward()
    assert_close(
        {name: p.grad for name, p in network.named_parameters() if p.grad is not None},
        {name: first[name] + second[name] for name in first},
    )


def test_frozen_parameters_get_no_gradient_and_the_others_the_same() -> None:
    network, (x, t) = unet(), images()
    everything = gradients(network, x, t)
    frozen = [name for name, _ in network.named_parameters() if "condition" in name or "steps.0" in name]
    for name in frozen:
        network.get_parameter(name).requires_grad_(False)
    assert_close(gradients(network, x, t), {name: g for name, g in everything.items() if name not in frozen})


def test_hooks_of_parameters_run_once_per_backward() -> None:
    network, (x, t) = unet(), images()
    calls: list[str] = []
    for name, parameter in network.named_parameters():
        parameter.register_hook(lambda _, name=name: calls.append(name))
    gradients(network, x, t)
    assert sorted(calls) == sorted(name for name, _ in network.named_parameters())


def test_outputs_are_the_same_with_and_without_gradients_and_in_a_copy() -> None:
    network, (x, t) = unet(), images()
    expected = network(x, t).detach()
    with torch.no_grad():
        assert torch.equal(network(x, t), expected)
    with torch.inference_mode():
        assert torch.equal(network(x, t), expected)
    assert torch.equal(copy.deepcopy(network)(x, t), expected)
    fresh = ReversibleUNet(2, 2, 2, (8, 16), None, 1, (False, True), norm_num_groups=4)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(x, t), expected)


def test_a_new_network_predicts_zero_and_time_steps_between_integers_count() -> None:
    x, t = images()
    assert not ReversibleUNet(2, 2, 2, (8, 16), attention_levels=(False, True))(x, t).any()
    network = unet()
    assert torch.equal(network(x, torch.tensor([3, 5])), network(x, torch.tensor([3.0, 5.0])))
    assert not torch.equal(network(x, torch.tensor([3.0, 5.0])), network(x, torch.tensor([3.5, 5.0])))


def peak(network: ReversibleUNet) -> int:
    """Bytes of tensors in a forward and a backward pass, with those of the weights and their gradients."""
    network.zero_grad()
    return measure_peak_memory(
        lambda: network(torch.randn(1, 2, 32, 32), torch.ones(1)).square().sum().backward(), torch.device("cpu")
    )


def test_memory_grows_with_depth_by_the_weights_and_their_gradients_alone() -> None:
    shallow, deep = (unet(num_res_blocks=blocks, attention_levels=(False, False)) for blocks in (1, 4))
    added = sum(8 * p.numel() for p in deep.parameters()) - sum(8 * p.numel() for p in shallow.parameters())
    assert peak(deep) - peak(shallow) < 1.1 * added
    shallow.invert = deep.invert = False
    assert peak(deep) - peak(shallow) > 2 * added


@pytest.mark.filterwarnings("ignore")  # the compiler looks at tensors and functions in ways that torch warns of
def test_a_compiled_network_computes_and_learns_what_it_does_uncompiled() -> None:
    network, (x, t) = unet(attention_levels=(False, False)), images()
    expected, eager = gradients(network, x, t), network(x, t).detach()
    # the compiler's way without its last step, C++, which takes minutes for a backward pass
    compiled: Any = torch.compile(network, backend="aot_eager")
    assert_close({n.removeprefix("_orig_mod."): g for n, g in gradients(compiled, x, t).items()}, expected)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, t), eager)


def denoiser(kind: Any, dims: int, channels: tuple[int, ...], blocks: int) -> nn.Module:
    """Without weights."""
    config = DenoiserConfig(kind=kind, channels=channels, blocks=blocks, head_channels=min(channels))
    assert downsampling(config) == 2 ** (len(channels) - 1)
    with torch.device("meta"):
        return build_denoiser(config, spatial_dims=dims, latent_channels=4)


@pytest.mark.parametrize(
    ("dims", "channels", "blocks", "hidden"),
    [
        (2, (8, 16), 1, (6, 20)),
        (2, (64, 128), 2, (48, 160)),
        (3, (8, 16), 1, (6, 21)),
        (3, (32, 64), 2, (24, 80)),
        (3, (32, 64, 128), 2, (24, 64, 168)),
        (3, (32,), 1, (32,)),
    ],
)
def test_it_is_as_large_as_the_standard_network_and_keeps_the_widths_of_saved_ones(
    dims: int, channels: tuple[int, ...], blocks: int, hidden: tuple[int, ...]
) -> None:
    network, usual = (denoiser(kind, dims, channels, blocks) for kind in ("reversible", "standard"))
    found = {len(module.weight) for name, module in network.named_modules() if name.endswith("widen")}
    assert found == set(hidden)  # another width could not read the weights of a network that was trained with this one
    size, usual_size = (sum(p.numel() for p in each.parameters()) for each in (network, usual))
    assert abs(size / usual_size - 1) < 0.1


@pytest.mark.parametrize(("dims", "channels", "size"), [(2, (64, 128), 16), (3, (32, 64), 8)])
def test_a_training_step_takes_no_more_arithmetic_than_the_standard_network_s(
    dims: int, channels: tuple[int, ...], size: int
) -> None:
    def flops(kind: str) -> int:
        network = denoiser(kind, dims, channels, 1)
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            network(torch.empty(1, 4, *(size,) * dims), torch.empty(1)).sum().backward()
        return int(counter.get_total_flops())

    assert flops("reversible") <= flops("standard")


def test_building_depends_on_the_seed_alone() -> None:
    def build() -> Tensor:
        torch.manual_seed(3)
        config = DenoiserConfig(kind="reversible", channels=(8, 16), blocks=1, head_channels=8)
        return next(build_denoiser(config, spatial_dims=2, latent_channels=1).parameters())

    torch.manual_seed(3)
    first = next(ReversibleUNet(2, 1, 1, (8, 16), attention_levels=(False, True)).parameters())
    assert torch.equal(build(), first)


def test_sizes_the_levels_cannot_divide_are_padded_and_cropped() -> None:
    network, (x, t) = unet(), images()
    odd = x[..., :7]
    padded = torch.cat((odd, odd[..., -1:]), dim=-1)
    assert torch.equal(network(odd, t), network(padded, t)[..., :7])
    assert check_gradients(network, odd, t).largest < 1e-5


@pytest.mark.parametrize("name", ["context", "class_labels", "mid_block_additional_residual"])
def test_conditions_it_cannot_serve_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        unet()(*images(), **{name: torch.zeros(2)})


def test_blocks_may_be_counted_for_each_level() -> None:
    branches = [module for module in unet(num_res_blocks=(1, 2)).modules() if isinstance(module, ConvolutionBranch)]
    assert len(branches) == (1 + 2) + (2 + 2 + 3)  # down and up at the first level; down, middle and up at the second


def test_widths_that_do_not_follow_each_other_are_named() -> None:
    with pytest.raises(ConfigError, match="level of 36 channels"):
        ReversibleUNet(2, 1, 1, (8, 36), attention_levels=(False, False))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"spatial_dims": 1}, "spatial_dims is 1"),
        ({"channels": (), "attention_levels": ()}, "channels 0"),
        ({"attention_levels": (True,)}, "attention_levels 1"),
        ({"hidden_channels": (8,)}, "hidden_channels 1"),
        ({"num_res_blocks": (1, 2, 3)}, "num_res_blocks 3"),
        ({"grid": 0.1}, "grid is 0.1"),
        ({"grid": -0.5}, "grid is -0.5"),
        ({"num_head_channels": 5}, "num_head_channels is 5"),
        ({"num_head_channels": 0}, "num_head_channels is 0"),
    ],
)
def test_settings_that_make_no_network_are_named(settings: dict[str, Any], problem: str) -> None:
    fitting: dict[str, Any] = {"spatial_dims": 2, "channels": (8, 16), "attention_levels": (False, True)}
    with pytest.raises(ConfigError, match=problem):
        ReversibleUNet(**{**fitting, **settings}, in_channels=1, out_channels=1)
