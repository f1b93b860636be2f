from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from lichen.audit.degrade import blurred, jpeg, with_gamma
from lichen.audit.motion import left_right, mirror, rotation, shift, warp, zoom
from lichen.audit.planted import DISTURBANCES
from lichen.errors import AuditError

SHAPES = [(1, 64, 64), (3, 33, 40), (1, 20, 24, 9), (2, 7, 12, 16)]
RANDOM = ("noise", "rotation", "shift", "combination", "half")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Many tiny operations: a second thread only waits, and on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _any(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Values all over [-1, 1], both ends among them."""
    images = torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ends = images.flatten(1)  # a view
    ends[:, 0], ends[:, -1] = -1.0, 1.0
    return images


def _bump(*sides: int) -> torch.Tensor:
    """One image (1, 1, *S): a smooth ball off the centre, on background."""
    axes = [torch.linspace(-1, 1, side) - 0.1 * at for at, side in enumerate(sides)]
    squares = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    return (2 * torch.exp(-8 * squares) - 1)[None, None]


def _disturbed(name: str, images: torch.Tensor, *, seed: int = 0, first: int = 0) -> torch.Tensor:
    return DISTURBANCES[name](
        images,
        seed=seed,
        indices=range(first, first + len(images)),
        partners=_any(len(images), *images.shape[1:], seed=77),
        round_trip=lambda given: given * 0.9,
    )


def _centre(image: torch.Tensor) -> torch.Tensor:
    """The centre of mass above background, in voxels, of one channel (*S)."""
    mass = image.double() + 1
    places = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in image.shape), indexing="ij")
    return torch.stack([(mass * place).sum() for place in places]) / mass.sum()


def _delta(*at_and_sides: tuple[int, int]) -> torch.Tensor:
    """One bright voxel, (1, 1, *S), from (place, side) of each axis."""
    image = torch.full((1, 1, *(side for _, side in at_and_sides)), -1.0)
    image[(0, 0, *(at for at, _ in at_and_sides))] = 1.0
    return image


def test_the_disturbances_are_those_that_the_audit_promises() -> None:
    assert list(DISTURBANCES) == [
        "exact",
        *("noise sd 0.05", "noise sd 0.1", "noise sd 0.2"),
        *("blur 1 px", "blur 2 px", "blur 3 px"),
        *("rotation 2 degrees", "rotation 5 degrees", "rotation 10 degrees"),
        *("shift 1 px", "shift 2 px", "shift 4 px"),
        "mirror",
        *("gamma 0.5", "gamma 2"),
        *("zoom 0.9", "zoom 1.1"),
        "JPEG 30",
        "inversion",
        "autoencoder round trip",
        "combination of four",
        "half an image in another",
        "mean of two",
    ]
    assert all(name == disturbance.name for name, disturbance in DISTURBANCES.items())
    assert [name for name, d in DISTURBANCES.items() if d.needs_partner] == ["half an image in another", "mean of two"]
    assert [name for name, d in DISTURBANCES.items() if d.needs_round_trip] == ["autoencoder round trip"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DISTURBANCES)
def test_values_never_leave_the_range_and_only_exact_changes_nothing(name: str, shape: tuple[int, ...]) -> None:
    images = _any(3, *shape)
    before = images.clone()
    planted = _disturbed(name, images)
    assert images.equal(before)
    assert (planted.shape, planted.dtype) == (images.shape, torch.float32)
    assert planted.amin() >= -1
    assert planted.amax() <= 1
    for image, original in zip(planted, images, strict=True):
        assert image.equal(original) == (name == "exact")


def test_an_exact_copy_shares_no_memory_with_its_original() -> None:
    images = _any(2, 1, 8, 8)
    _disturbed("exact", images).zero_()
    assert images.equal(_any(2, 1, 8, 8))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DISTURBANCES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_or_number_does_not(
    name: str, shape: tuple[int, ...]
) -> None:
    images = _any(8, *shape)
    planted = _disturbed(name, images)
    assert planted.equal(_disturbed(name, images))
    is_random = name.startswith(RANDOM)
    assert planted.equal(_disturbed(name, images, seed=1)) != is_random
    assert planted.equal(_disturbed(name, images, first=8)) != is_random


@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_is_random_about_an_image_does_not_depend_on_the_images_beside_it(name: str) -> None:
    images, partners = _any(5, 1, 12, 10, 8), _any(5, 1, 12, 10, 8, seed=1)
    order = [3, 0, 4]
    disturbance = DISTURBANCES[name]
    together = disturbance(images, seed=5, indices=range(5), partners=partners, round_trip=torch.neg)
    some = disturbance(images[order], seed=5, indices=order, partners=partners[order], round_trip=torch.neg)
    torch.testing.assert_close(some, together[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.2])
def test_noise_has_the_stated_share_of_the_range_as_its_standard_deviation(sd: float) -> None:
    grey = torch.zeros(4, 1, 128, 128)
    noise = _disturbed(f"noise sd {sd:g}", grey)
    clipped = 1 / (2 * sd)  # where the range ends, in standard deviations
    density = math.exp(-(clipped**2) / 2) / math.sqrt(2 * math.pi)
    outside = math.erfc(clipped / math.sqrt(2))
    variance = 1 - outside - 2 * clipped * density + outside * clipped**2  # of a clipped standard normal number
    assert float(noise.std()) == pytest.approx(2 * sd * math.sqrt(variance), rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=4 * 2 * sd / 256)
    others = [_disturbed(f"noise sd {other:g}", grey) for other in (0.05, 0.1, 0.2) if other != sd]
    correlation = torch.corrcoef(torch.cat([noise, *others]).flatten(1)) - torch.eye(12)
    assert correlation.abs().max() < 4 / 128


@pytest.mark.parametrize("sides", [(64, 64), (40, 40), (48, 24, 12)])
@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_a_blur_is_as_wide_as_stated_along_every_axis(pixels: int, sides: tuple[int, ...]) -> None:
    image = _delta(*((side // 2, side) for side in sides)).add(1).div(2)  # on 0, where rounding leaves most digits
    planted = _disturbed(f"blur {pixels} px", image)[0, 0].double()
    assert float(planted.sum()) == pytest.approx(1, rel=1e-5)
    for axis, side in enumerate(sides):
        profile = planted.sum([other for other in range(len(sides)) if other != axis]) / planted.sum()
        place = torch.arange(side) - side // 2
        assert float((profile * place).sum()) == pytest.approx(0, abs=1e-5)
        assert float((profile * place**2).sum()) == pytest.approx((pixels * side / 64) ** 2, rel=2e-3)


def test_a_blur_keeps_a_constant_image_and_a_straight_ramp_away_from_the_edges() -> None:
    torch.testing.assert_close(blurred(torch.full((1, 2, 9, 11), 0.3), (2.0, 0.4)), torch.full((1, 2, 9, 11), 0.3))
    ramp = torch.linspace(-1, 1, 65).expand(1, 1, 5, 65)
    planted = blurred(ramp, (3.0, 3.0))
    torch.testing.assert_close(planted[..., 18:-18], ramp[..., 18:-18], atol=1e-5, rtol=0)


def test_a_blur_repeats_the_outermost_voxels_and_brings_in_no_background() -> None:
    step, sd = 2 / 64, 3.0
    ramp = torch.linspace(-1, 1, 65).expand(1, 1, 5, 65)
    rise = step * sd / math.sqrt(2 * math.pi)  # the mean of a normal number where it is above 0, else 0
    assert float(blurred(ramp, (sd, sd))[0, 0, 0, 0] + 1) == pytest.approx(rise, rel=0.03)
    assert float(1 - blurred(ramp, (sd, sd))[0, 0, 4, 64]) == pytest.approx(rise, rel=0.03)


def test_two_blurs_in_a_row_are_one_whose_variances_add_up() -> None:
    image = _delta((32, 64), (32, 64))
    torch.testing.assert_close(
        blurred(blurred(image, (1.5, 0.3)), (2.0, 0.4)), blurred(image, (2.5, 0.5)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_a_shift_by_whole_voxels_moves_a_bright_voxel_by_as_many(dims: int) -> None:
    sides, start, moved = (16, 11, 8)[:dims], (5, 4, 3)[:dims], (3, -2, 1)[:dims]
    image = _delta(*zip(start, sides, strict=True))
    expected = _delta(*((at + by, side) for at, by, side in zip(start, moved, sides, strict=True)))
    planted = warp(image, shift(torch.tensor([moved])))
    torch.testing.assert_close(planted, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_a_planted_shift_has_the_stated_length_in_every_direction(pixels: int) -> None:
    for sides in ((64, 64), (128, 32), (48, 24, 36)):
        image = _bump(*sides)
        planted = _disturbed(f"shift {pixels} px", image.repeat(40, *[1] * (len(sides) + 1)))
        field = torch.tensor(sides)
        moved = torch.stack([_centre(each[0]) - _centre(image[0, 0]) for each in planted]) / field * 64
        torch.testing.assert_close(moved.norm(dim=1), torch.full((40,), float(pixels)).double(), atol=0.06, rtol=0.02)
        assert (moved > 0.3 * pixels).any(0).all()
        assert (moved < -0.3 * pixels).any(0).all()


def test_what_a_shift_brings_in_from_outside_is_background() -> None:
    planted = warp(torch.full((1, 1, 6, 6), 0.7), shift(torch.tensor([[2.0, 0.0]])))
    expected = torch.tensor([-1.0, -1.0, 0.7, 0.7, 0.7, 0.7]).reshape(-1, 1).expand(1, 1, 6, 6)
    torch.testing.assert_close(planted, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [7, 8])
def test_a_quarter_turn_is_exactly_that_of_the_grid(side: int) -> None:
    picture = _any(2, 3, side, side)
    for degrees, turns in ((90.0, 1), (-90.0, -1), (180.0, 2), (0.0, 0)):
        turned = warp(picture, rotation(torch.full((2,), degrees)))
        torch.testing.assert_close(turned, picture.rot90(turns, (2, 3)), atol=1e-5, rtol=0)
    volume = _any(2, 1, side, side, side)
    for axis, plane in enumerate(((3, 4), (4, 2), (2, 3))):
        turned = warp(volume, rotation(torch.full((2,), 90.0), torch.eye(3)[axis].expand(2, 3)))
        torch.testing.assert_close(turned, volume.rot90(1, plane), atol=1e-5, rtol=0)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 4.0), (0.5, 2.0, 1.0)])
def test_a_rotation_keeps_every_distance_in_space_and_turns_by_its_angle(
    spacing: tuple[float, float, float] | None,
) -> None:
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -0.5], [0.3, -0.2, 0.9]], dtype=torch.float64), dim=1)
    angle = torch.tensor([10.0, -35.0])
    scale = torch.tensor(spacing or (1.0, 1.0, 1.0), dtype=torch.float64).diag()
    in_space = scale @ rotation(angle, axis, spacing)[:, :3, :3] @ scale.inverse()
    torch.testing.assert_close(in_space @ in_space.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    torch.testing.assert_close((in_space @ axis.unsqueeze(2)).squeeze(2), axis)
    cos = (in_space.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    torch.testing.assert_close(cos, angle.double().deg2rad().cos())
    torch.testing.assert_close(in_space.det(), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("degrees", [2, 5, 10])
def test_a_planted_rotation_turns_by_the_stated_angle_to_both_sides(degrees: int) -> None:
    image = _delta((50, 65), (32, 65)).mul(0.5).sub(0.5)
    image[..., 46:55, 30:35] = 1.0
    planted = _disturbed(f"rotation {degrees} degrees", image.repeat(20, 1, 1, 1))
    arms = torch.stack([_centre(each[0]) for each in planted]) - 32
    angles = torch.atan2(arms[:, 1], arms[:, 0]).rad2deg()
    torch.testing.assert_close(angles.abs(), torch.full((20,), float(degrees)).double(), atol=0.05, rtol=0)
    assert (angles > 0).any()
    assert (angles < 0).any()


def test_a_volume_is_turned_about_an_axis_of_its_own() -> None:
    image = _bump(24, 24, 24)
    planted = _disturbed("rotation 10 degrees", image.repeat(30, 1, 1, 1, 1))
    moved = torch.stack([_centre(each[0]) - _centre(image[0, 0]) for each in planted])
    assert len(torch.unique(moved.round(decimals=3), dim=0)) == 30
    assert (moved.std(0) > 0.05).all()


def test_a_volume_with_thick_slices_is_turned_in_space_and_not_in_voxels() -> None:
    image = torch.full((1, 1, 48, 48, 16), -1.0)
    image[:, :, 33:38, 22:26, 7:9] = 1.0
    middle, spacing = torch.tensor([23.5, 23.5, 7.5]), torch.tensor([1.0, 1.0, 3.0])
    about = torch.tensor([[0.0, 1.0, 0.0]])
    turn = rotation(torch.tensor([30.0]), about, spacing.tolist())
    before, after = (((_centre(each[0, 0]) - middle) * spacing) for each in (image, warp(image, turn)))
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    expected = torch.stack([cos * before[0] + sin * before[2], before[1], cos * before[2] - sin * before[0]])
    torch.testing.assert_close(after, expected, atol=0.15, rtol=0)
    ignorant = (_centre(warp(image, rotation(torch.tensor([30.0]), about))[0, 0]) - middle) * spacing
    assert (ignorant - expected).norm() > 5
    image = _bump(24, 24, 8)
    planted = [
        DISTURBANCES["rotation 10 degrees"](image, seed=0, indices=[0], spacing=spacing)
        for spacing in (None, (2, 2, 2), (1, 1, 3))
    ]
    torch.testing.assert_close(planted[0], planted[1], atol=1e-5, rtol=0)
    assert (planted[0] - planted[2]).abs().max() > 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_mirrored_twice_is_the_image_itself_and_once_swaps_left_and_right(shape: tuple[int, ...]) -> None:
    images = _any(2, *shape)
    once = _disturbed("mirror", images)
    assert once.equal(images.flip(2 if len(shape) == 4 else 3))
    assert _disturbed("mirror", once).equal(images)
    torch.testing.assert_close(warp(images, mirror(2, len(shape) - 1)), once, atol=1e-5, rtol=0)


def test_gamma_one_is_the_identity_and_gammas_multiply() -> None:
    images = _any(2, 1, 16, 16)
    torch.testing.assert_close(with_gamma(images, 1.0), images)
    torch.testing.assert_close(with_gamma(with_gamma(images, 2.0), 0.5), images, atol=1e-5, rtol=0)
    assert with_gamma(torch.tensor([-1.0, 0.0, 1.0]), 2.0).tolist() == [-1.0, -0.5, 1.0]
    assert (_disturbed("gamma 2", images) <= images).all()
    assert (_disturbed("gamma 0.5", images) >= images).all()


def test_inverted_twice_is_the_image_itself() -> None:
    images = _any(2, 3, 9, 9)
    assert _disturbed("inversion", images).equal(-images)
    assert _disturbed("inversion", _disturbed("inversion", images)).equal(images)


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("sides", [(64, 64), (32, 40, 24)])
def test_a_zoom_enlarges_about_the_centre_of_the_grid(factor: float, sides: tuple[int, ...]) -> None:
    image = _bump(*sides)
    planted = _disturbed(f"zoom {factor:g}", image)
    middle = torch.tensor(sides) / 2 - 0.5
    torch.testing.assert_close(
        _centre(planted[0, 0]) - middle, factor * (_centre(image[0, 0]) - middle), atol=0.02, rtol=0.02
    )
    assert float((planted + 1).sum() / (image + 1).sum()) == pytest.approx(factor ** len(sides), rel=0.02)


def test_composed_motions_are_those_one_after_another_without_their_repeated_smoothing() -> None:
    image = _bump(96, 96)
    turn, push = rotation(torch.tensor([20.0])), shift(torch.tensor([[3.3, -2.6]]))
    grow, swap = zoom(torch.tensor([1.2]), 2), mirror(1, 2)
    at_once = warp(image, swap @ push @ turn @ grow)
    one_by_one = warp(warp(warp(warp(image, grow), turn), push), swap)
    torch.testing.assert_close(at_once, one_by_one, atol=0.02, rtol=0)
    assert (at_once.amax() - one_by_one.amax()) > 1e-4
    there_and_back = warp(image, push.inverse() @ turn.inverse() @ turn @ push)
    torch.testing.assert_close(there_and_back, image, atol=1e-5, rtol=0)


def test_jpeg_leaves_flat_grey_alone_and_treats_channels_and_axial_slices_apart() -> None:
    grey = torch.full((1, 1, 16, 16), 128 / 127.5 - 1)
    torch.testing.assert_close(jpeg(grey, 30), grey)
    picture = _any(2, 3, 16, 24)
    planted = jpeg(picture, 30)
    torch.testing.assert_close(planted[:, 1:2], jpeg(picture[:, 1:2], 30))
    volume = _any(2, 2, 16, 24, 5)
    torch.testing.assert_close(jpeg(volume, 30)[..., 3], jpeg(volume[..., 3], 30))


def test_jpeg_keeps_a_smooth_image_nearly_and_less_so_at_lower_quality() -> None:
    image = _bump(64, 64)
    errors = [float((jpeg(image, quality) - image).square().mean().sqrt()) for quality in (95, 30, 5)]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert errors[1] < 0.05
    torch.testing.assert_close(_disturbed("JPEG 30", image), jpeg(image, 30))


def test_the_combination_is_a_mirror_a_turn_a_shift_and_noise_and_unlike_each_of_them() -> None:
    image = torch.full((1, 1, 64, 64), -1.0)
    image[:, :, 9:16, 16:23], image[:, :, 48:55, 41:48] = 1.0, 1.0  # their centres lie opposite each other
    many = image.repeat(30, 1, 1, 1)
    combined = _disturbed("combination of four", many)
    for part in ("mirror", "rotation 5 degrees", "shift 2 px", "noise sd 0.05"):
        assert (combined - _disturbed(part, many)).flatten(1).abs().amax(1).min() > 0.5
    bright = (combined[:, 0] > 0) * 2.0 - 1
    upper, lower = (torch.stack([_centre(each) for each in half]) for half in (bright[:, :32], bright[:, 32:]))
    lower[:, 0] += 32
    moved = ((upper + lower) / 2 - 31.5).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((30,), 2.0).double(), atol=0.25, rtol=0)
    down, right = (lower - upper).unbind(1)
    turned = torch.atan2(right, down).rad2deg() - math.degrees(math.atan2(-25, 39))  # of the mirrored image
    torch.testing.assert_close(turned.abs(), torch.full((30,), 5.0).double(), atol=0.6, rtol=0)
    assert (turned > 0).any()
    assert (turned < 0).any()
    corner = combined[:, 0, :8, 56:] + 1
    assert float(corner.square().mean()) == pytest.approx(0.1**2 / 2, rel=0.15)  # below -1 the noise is clipped


def test_half_of_each_image_replaces_half_of_its_partner_on_any_side() -> None:
    for sides in ((16, 11), (8, 6, 7), (1, 9)):
        images, partners = torch.full((60, 1, *sides), 1.0), torch.full((60, 1, *sides), -1.0)
        planted = DISTURBANCES["half an image in another"](images, seed=0, indices=range(60), partners=partners)
        cuts = [(axis, end) for axis, side in enumerate(sides) if side > 1 for end in (False, True)]
        found = set()
        for image in planted[:, 0]:
            for axis, end in cuts:
                half = sides[axis] // 2
                expected = torch.full(sides, -1.0)
                expected.narrow(axis, sides[axis] - half if end else 0, half).fill_(1.0)
                if image.equal(expected):
                    found.add((axis, end))
                    break
            else:
                pytest.fail("not one half of the image")
        assert found == set(cuts)


def test_the_mean_of_two_lies_midway() -> None:
    images, partners = _any(2, 1, 8, 8), _any(2, 1, 8, 8, seed=1)
    planted = DISTURBANCES["mean of two"](images, seed=0, indices=[0, 1], partners=partners)
    torch.testing.assert_close(planted - images, partners - planted)


def test_a_round_trip_is_what_the_given_function_returns_clipped_to_the_range() -> None:
    images = _any(2, 1, 8, 8)
    planted = DISTURBANCES["autoencoder round trip"](images, seed=0, indices=[0, 1], round_trip=lambda x: 3 * x)
    torch.testing.assert_close(planted, (3 * images).clamp(-1, 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [(lambda x: x[..., 1:], "returned"), (lambda x: x / 0 * 0, "NaN")],
)
def test_a_round_trip_that_returns_other_shapes_or_no_numbers_is_refused(change: object, says: str) -> None:
    assert callable(change)
    with pytest.raises(AuditError, match=says):
        DISTURBANCES["autoencoder round trip"](_any(1, 1, 8, 8), seed=0, indices=[0], round_trip=change)


def test_arguments_that_do_not_fit_each_other_are_refused() -> None:
    images = _any(2, 1, 8, 8)
    exact, mean, trip = (DISTURBANCES[name] for name in ("exact", "mean of two", "autoencoder round trip"))
    with pytest.raises(ValueError, match="need"):
        exact(images, seed=0, indices=[0])
    with pytest.raises(ValueError, match="need"):
        exact(images[0], seed=0, indices=[0])
    with pytest.raises(ValueError, match="spacings"):
        exact(images, seed=0, indices=[0, 1], spacing=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="partner"):
        mean(images, seed=0, indices=[0, 1])
    with pytest.raises(ValueError, match="partners"):
        mean(images, seed=0, indices=[0, 1], partners=images[:1])
    with pytest.raises(ValueError, match="round trip"):
        trip(images, seed=0, indices=[0, 1])
    for bad in (1.5, -1.01, float("nan")):
        with pytest.raises(ValueError, match="outside"):
            exact(torch.full((1, 1, 4, 4), bad), seed=0, indices=[0])


@pytest.mark.parametrize("name", DISTURBANCES)
def test_no_images_give_no_images(name: str) -> None:
    assert _disturbed(name, torch.empty(0, 1, 8, 8)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_blank_image_and_one_of_a_single_voxel_survive(name: str) -> None:
    for shape in ((1, 8, 8), (1, 1, 1), (2, 1, 1, 1)):
        planted = _disturbed(name, torch.full((2, *shape), -1.0))
        assert torch.isfinite(planted).all()


def test_left_and_right_are_the_columns_of_a_picture_and_the_first_axis_of_a_volume() -> None:
    assert (left_right(2), left_right(3)) == (1, 0)
