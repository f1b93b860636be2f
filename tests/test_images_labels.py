"""Label maps and slices: how they are found, read, brought to the grid and written; and training on fewer patients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.config import ImagesConfig
from lichen.errors import ConfigError, ImageError, LichenError
from lichen.images import (
    Image,
    ImageSet,
    Source,
    find_classes,
    load_set,
    nearest_class,
    open_folder,
    open_source,
    read_image,
    sample_suffix,
    split_by_patient,
    spread,
    survey,
    to_grid,
    write_montage,
    write_sample,
)
from lichen.images.phantoms import phantom_source
from lichen.images.slices import sliced
from lichen.images.types import SYNTHETIC_MARK, Item
from lichen.palette import class_colours, coloured
from lichen.slice_rule import SliceRule

Volume = NDArray[np.float32]


def save(path: Path, values: NDArray[np.floating], affine: NDArray[np.float64] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(values.astype(np.float32), np.eye(4) if affine is None else affine).to_filename(path)


def scan(seed: int, shape: tuple[int, ...] = (8, 8, 6)) -> Volume:
    return np.random.default_rng(seed).uniform(0, 900 + seed, shape).astype(np.float32)


def mask(slices: int = 3, shape: tuple[int, ...] = (8, 8, 6)) -> Volume:
    """Labelled in the first slices, in slice z in z + 1 of the 8 rows: shares 1/8, 2/8 ..."""
    labels = np.zeros(shape, np.float32)
    for z in range(slices):
        labels[:, : z + 1, z] = 4 if z % 2 else 1
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three images of two patients and their label maps in two folders, as the Decathlon has them."""
    for number in range(3):
        save(tmp_path / "images" / f"case_{number}.nii.gz", scan(number))
        save(tmp_path / "labels" / f"case_{number}.nii.gz", mask())
    rows = "".join(f"images/case_{n}.nii.gz,labels/case_{n}.nii.gz,P{n // 2}\n" for n in range(3))
    (tmp_path / "metadata.csv").write_text("file,label_file,patient\n" + rows)
    return tmp_path


def opened(folder: Path, **settings: object) -> Source:
    return open_source(ImagesConfig(path=folder, **settings))  # type: ignore[arg-type]


def loaded(source: Source, size: tuple[int, ...], **options: object) -> ImageSet:
    classes = find_classes(source.items) if source.has_label_map else ()
    return load_set(source.items, size, classes=classes, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"label": "label_file"}, {"channels": ("images", "labels"), "label": "labels"}])
def test_label_maps_are_found_by_a_column_or_by_folders_and_come_last(
    folders: Path, settings: dict[str, object]
) -> None:
    source = opened(folders, **settings)
    assert [item.patient for item in source.items] == ["P0", "P0", "P1"]
    assert source.has_label_map
    np.testing.assert_array_equal(source.items[1].read().voxels, np.stack([scan(1), mask()]))
    assert find_classes(source.items) == (0, 1, 4)
    if "channels" in settings:
        turned = opened(folders, channels=("labels", "images"), label="labels")
        np.testing.assert_array_equal(turned.items[1].read().voxels[1], mask())
        assert [item.name for item in source.items] == ["case_0", "case_1", "case_2"]


def test_endings_and_folders_go_together_as_in_the_layout_of_nnunet(tmp_path: Path) -> None:
    for case in ("BRATS_001", "BRATS_002"):
        for number in range(2):
            save(tmp_path / "imagesTr" / f"{case}_{number:04}.nii.gz", scan(number))
        save(tmp_path / "labelsTr" / f"{case}.nii.gz", mask())
    source = opened(tmp_path, channels=("0000", "0001", "labelsTr"), label="labelsTr")
    assert [item.name for item in source.items] == ["BRATS_001", "BRATS_002"]
    np.testing.assert_array_equal(source.items[0].read().voxels, np.stack([scan(0), scan(1), mask()]))


def test_an_image_of_several_channels_may_have_its_label_map_in_a_file_beside_it(tmp_path: Path) -> None:
    save(tmp_path / "imagesTr" / "b1.nii.gz", np.stack([scan(0), scan(1)], axis=3))
    save(tmp_path / "labelsTr" / "b1.nii.gz", mask())
    (item,) = opened(tmp_path, channels=("imagesTr", "labelsTr"), label="labelsTr").items
    np.testing.assert_array_equal(item.read().voxels, np.stack([scan(0), scan(1), mask()]))


def test_a_case_without_label_map_is_an_error_or_left_out(folders: Path) -> None:
    (folders / "labels" / "case_1.nii.gz").unlink()
    table = (folders / "metadata.csv").read_text().replace("labels/case_1.nii.gz", "")
    (folders / "metadata.csv").write_text(table)
    for settings in ({"label": "label_file"}, {"channels": ("images", "labels"), "label": "labels"}):
        with pytest.raises(ImageError, match=r"has no label"):
            opened(folders, **settings)
        source = opened(folders, skip_bad=True, **settings)
        assert len(source.items) == 2
        assert "case_1" in source.skipped[0].name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label": "seg"}, "seg, which is neither a channel nor a column"),
        ({"channels": ("images",), "label": "labels"}, "none of images.channels"),
        ({"channels": ("labels",), "label": "labels"}, "the label map alone"),
        ({"slices": "label>=0.1"}, "no label map is named"),
        ({"label": " "}, "images.label is empty"),
        ({"label": "label_file", "slices": "label>=0.9"}, r"the most is 0\.375\n"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(folders: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises(LichenError, match=words):
        opened(folders, **settings)


def test_the_rule_that_is_proposed_where_no_slice_fits_is_one_that_can_be_followed(folders: Path) -> None:
    for number in range(3):
        save(folders / "labels" / f"case_{number}.nii.gz", np.zeros((8, 8, 6)))
    with pytest.raises(ImageError, match=r"the most is 0\n.*another rule, e\.g\."):
        opened(folders, label="label_file", slices="label>=0.1")
    large = np.zeros((400, 400, 2))
    large[0, 0, 0] = 1
    save(folders / "images" / "case_0.nii.gz", large)
    save(folders / "labels" / "case_0.nii.gz", large)
    with pytest.raises(ImageError) as error:
        opened(folders, label="label_file", slices="label>=0.1")
    proposed = str(error.value).rsplit("'", 2)[1]
    assert len(opened(folders, label="label_file", slices=proposed).items) == 1


def test_a_table_with_two_columns_of_label_maps_of_one_name_is_refused(folders: Path) -> None:
    rows = "".join(f"images/case_{n}.nii.gz,x,labels/case_{n}.nii.gz,P{n}\n" for n in range(3))
    (folders / "metadata.csv").write_text("file,label_file,label_file,patient\n" + rows)
    with pytest.raises(ImageError, match="several columns named label_file"):
        opened(folders, label="label_file")


def test_a_label_map_of_fractions_of_many_values_or_of_another_grid_is_refused(folders: Path) -> None:
    path = folders / "labels" / "case_0.nii.gz"
    for values, words in ((mask() / 2, r"the value 0\.5"), (np.arange(384.0).reshape(8, 8, 6), "384 different values")):
        save(path, values)
        with pytest.raises(ImageError, match=words):
            find_classes(opened(folders, label="label_file").items)
    save(path, mask(shape=(8, 8, 7)))
    with pytest.raises(ImageError, match="lie on different voxels"):
        loaded(opened(folders, label="label_file"), (8, 8, 6))
    with pytest.raises(ImageError, match="label map 8 x 8 x 7"):
        opened(folders, channels=("images",), label="label_file", slices="label>=0.1")
    source = opened(folders, channels=("images",), label="label_file", slices="label>=0.1", skip_bad=True)
    assert len(source.items) == 6
    assert len(source.skipped) == 1


@given(st.sets(st.integers(-1000, 100_000), min_size=2, max_size=64), st.integers(0, 2**32 - 1))
def test_classes_are_evenly_spread_and_come_back_after_any_change_of_less_than_half_a_step(
    values: set[int], seed: int
) -> None:
    classes, rng = tuple(sorted(values)), np.random.default_rng(seed)
    labels = rng.choice(np.array(classes, np.float32), 50)
    points = spread(labels, classes)
    np.testing.assert_allclose(np.diff(spread(np.array(classes, np.float32), classes)), 2 / (len(classes) - 1), 1e-4)
    moved = (points + rng.uniform(-0.49, 0.49, 50) * 2 / (len(classes) - 1)).astype(np.float32)
    np.testing.assert_array_equal(nearest_class(moved, classes), labels)


def test_a_label_that_is_no_class_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="x has the label 3; the classes are 0 1 4"):
        spread(np.array([0, 3], np.float32), (0, 1, 4), "x")


@pytest.mark.parametrize("fit", ["resize", "crop-pad"])
@pytest.mark.parametrize("size", [(5, 12, 4), (16, 16, 16), (3, 3, 3)])
def test_on_the_grid_a_label_map_lies_where_its_image_does_and_holds_no_new_value(
    size: tuple[int, int, int], fit: str
) -> None:
    labels = Image(np.random.default_rng(1).integers(1, 4, (1, 9, 8, 7)).astype(np.float32), np.diag([1, 2, 1.5, 1]))
    gridded = to_grid(labels, size, fit, outside=0)  # type: ignore[arg-type]
    image = to_grid(labels, size, fit)  # type: ignore[arg-type]
    np.testing.assert_array_equal(gridded.affine, image.affine)
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    there = np.linalg.inv(labels.affine) @ gridded.affine @ np.c_[index, np.ones(len(index))].T
    places = there[:3].T
    inside = ((places > -0.49) & (places < np.array([9, 8, 7]) - 0.51)).all(1)
    halfway = (np.abs(places % 1 - 0.5) < 1e-6).any(1)
    sure = inside & ~halfway
    nearest = np.rint(places[sure]).astype(int)
    np.testing.assert_array_equal(gridded.voxels[0].ravel()[sure], labels.voxels[0][tuple(nearest.T)])
    outside = ((places < -0.6) | (places > np.array([9, 8, 7]) - 0.4)).any(1)
    if fit == "crop-pad":
        assert (gridded.voxels[0].ravel()[outside] == 0).all()
    assert set(np.unique(gridded.voxels)) <= {0, 1, 2, 3}


def test_an_image_keeps_its_own_percentiles_beside_a_label_map_and_the_cache_gives_the_same(folders: Path) -> None:
    source = opened(folders, label="label_file")
    both = loaded(source, (8, 8, 6), cache_dir=folders / "cache")
    alone = load_set(open_folder(folders).items, (8, 8, 6))
    assert both.voxels[:, :1].equal(alone.voxels)
    assert both.classes == (0, 1, 4)
    assert both.without_label_map.voxels.equal(alone.voxels)
    assert both.voxels[:, 1].unique().tolist() == [-1, 0, 1]
    again = loaded(source, (8, 8, 6), cache_dir=folders / "cache")
    assert again.voxels.equal(both.voxels)
    assert len(list((folders / "cache").rglob("*.npy"))) == 1


def test_slices_are_upright_of_their_patient_and_normalised_as_their_volume(tmp_path: Path) -> None:
    volume = np.zeros((6, 8, 10), np.float32)
    volume[5, 4, 5] = 1  # right
    volume[3, 7, 5] = 2  # anterior
    volume[:, :, 9] = 4
    save(tmp_path / "a.nii", volume, np.diag([1.0, 2.0, 3.0, 1.0]))
    source = opened(tmp_path, slices="all")
    assert source.spatial_dims == 2
    assert [item.name for item in source.items] == [f"a.nii[z={z}]" for z in range(10)]
    assert {item.patient for item in source.items} == {"a.nii"}
    image = source.items[5].read()
    assert image.voxels.shape == (1, 8, 6)
    assert source.items[5].look is not None
    assert source.items[5].look() == image.geometry
    assert image.voxels[0, 3, 0] == 1  # the patient's right is on the left
    assert image.voxels[0, 0, 2] == 2  # anterior on top
    np.testing.assert_array_equal(image.affine @ [3, 0, 0, 1], [5, 8, 15, 1])
    whole = load_set(open_folder(tmp_path).items, (6, 8, 10), "crop-pad").voxels[0, 0]
    cut = load_set(source.items, (8, 6), "crop-pad").voxels[:, 0]
    assert cut.equal(whole.permute(2, 1, 0).flip(1, 2))


def test_a_volume_is_decoded_once_for_all_its_slices(tmp_path: Path) -> None:
    decoded: list[str] = []
    for name in "ab":
        save(tmp_path / f"{name}.nii", scan(1, (8, 8, 40)))
    volumes = open_folder(tmp_path)

    def counted(item: Item) -> Item:
        def read() -> Image:
            decoded.append(item.name)
            return item.read()

        return replace(item, read=read)

    source = sliced(replace(volumes, items=tuple(map(counted, volumes.items))), SliceRule())
    assert not decoded
    assert len(load_set(source.items, (8, 8)).names) == 80
    assert decoded == ["a.nii", "b.nii"]


def test_slices_are_taken_by_the_share_of_voxels_that_are_labelled_or_about_the_middle(folders: Path) -> None:
    by_label = opened(folders, label="label_file", slices="label >= 0.25")
    assert [item.name.partition("[")[2] for item in by_label.items] == ["z=1]", "z=2]"] * 3
    np.testing.assert_array_equal(by_label.items[0].read().voxels[1], mask()[:, :, 1].T[::-1, ::-1])
    alone = opened(folders, channels=("images",), label="label_file", slices="label>=0.25")
    assert [item.name for item in alone.items] == [item.name for item in by_label.items]
    assert alone.items[0].read().voxels.shape == (1, 8, 8)
    assert not alone.has_label_map
    assert by_label.note.endswith(
        "; label_file is the label map; images are axial slices of volumes, by the rule label >= 0.25"
    )
    assert "label map" not in alone.note
    assert loaded(alone, (8, 8)).are_slices
    assert not loaded(opened(folders), (8, 8, 6)).are_slices
    middle = opened(folders, slices="middle:2")
    assert [item.name.partition("[")[2] for item in middle.items] == ["z=2]", "z=3]"] * 3
    assert len(opened(folders, slices="middle:99").items) == 18


@pytest.mark.parametrize(
    "text", ["", "label>0.1", "label>=0", "label>=1.5", "label>=nan", "middle:0", "middle:-1", "middle", "ALL", "1e9"]
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_rules_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="it may be all, middle:N"):
        ImagesConfig(slices=text)


def test_rules_are_read_with_and_without_blanks() -> None:
    assert SliceRule.parse(" label >= .15 ") == SliceRule(least_share=0.15)
    assert SliceRule.parse("middle: 20") == SliceRule(middle=20)
    assert list(SliceRule.parse("middle:3").kept(8)) == [2, 3, 4]


def test_pictures_cannot_be_cut_into_slices() -> None:
    with pytest.raises(ImageError, match="have two dimensions"):
        open_source(ImagesConfig(phantoms="2d", slices="all"))
    assert len(open_source(ImagesConfig(phantoms="3d", phantom_patients=4, slices="middle:2")).items) == 32


@pytest.mark.parametrize("shape", [(3, 8, 6), (2, 8, 6, 4), (2, 16, 16)])
def test_a_sample_is_written_with_its_classes_and_read_back_as_the_same_tensor(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    classes, dims = (0, 1, 4), len(shape) - 1
    drawn = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    # as of a slice: rows to posterior, columns to the left
    affine = np.array([[0, -0.9, 0, 36], [-0.9, 0, 0, 50], [0, 0, 1, 15], [0, 0, 0, 1.0]]) if dims == 2 else np.eye(4)
    path = tmp_path / f"sample-000000{sample_suffix(shape[0], dims, label_map=True)}"
    write_sample(path, drawn, affine, {"index": 0}, classes=classes)
    assert json.loads((tmp_path / "sample-000000.json").read_text())["classes"] == [0, 1, 4]
    stored = read_image(path)
    np.testing.assert_array_equal(stored.voxels[-1], nearest_class(drawn[-1], classes))
    np.testing.assert_allclose(stored.affine, affine, atol=1e-5)
    back = load_set(open_folder(tmp_path).items, shape[1:], "crop-pad", window=(0, 1), classes=classes)
    np.testing.assert_allclose(back.voxels[0, :-1], drawn[:-1], atol=1e-6)
    np.testing.assert_array_equal(back.voxels[0, -1], spread(nearest_class(drawn[-1], classes), classes))
    assert SYNTHETIC_MARK.encode() in nib.load(path).header["descrip"].item()


def test_fewer_patients_are_a_part_of_more_and_the_held_out_stay() -> None:
    source = phantom_source("2d", 20)
    held_out: set[frozenset[str]] = set()
    before: set[str] = set()
    for patients in (1, 5, 12):
        train, other = split_by_patient(source, 0.4, 3, patients)
        now = {item.patient for item in train}
        assert len(now) == patients
        assert before <= now
        assert len(train) == 4 * patients
        held_out.add(frozenset(item.patient for item in other))
        before = now
    assert len(held_out) == 1
    assert split_by_patient(source, 0.4, 3, 12) == split_by_patient(source, 0.4, 3)
    with pytest.raises(ImageError, match=r"images\.patients is 13; .* has 12 patients to train on beside 8 held out"):
        split_by_patient(source, 0.4, 3, 13)


def test_a_survey_tells_channels_and_classes_and_the_montage_draws_them_in_colours(folders: Path) -> None:
    from PIL import Image as Pictures

    from lichen.words import survey_lines

    source = opened(folders, label="label_file", slices="all")
    found = survey(source, ImagesConfig())
    assert [label for label, _ in found.classes] == [0, 1, 4]
    assert sum(share for _, share in found.classes) == pytest.approx(1)
    assert found.classes[2][1] == pytest.approx((mask() == 4).mean())
    assert "2: image, label_file (label map, last)" in survey_lines(found, None)
    path = folders / "patient-images.png"
    write_montage(path, source.items, classes=(0, 1, 4))
    with Pictures.open(path) as picture:
        colours = {colour for _, colour in picture.getcolors(10**6) or []}
    assert {tuple(colour) for colour in class_colours((0, 1, 4)).tolist()} <= colours


def test_each_class_has_a_colour_of_its_own_and_background_is_black() -> None:
    colours = class_colours(range(64))
    assert tuple(colours[0]) == (0, 0, 0)
    assert len(np.unique(colours, axis=0)) == 64
    assert coloured(np.array([[0, 4]], np.float32), (0, 1, 4)).tolist() == [
        [[0, 0, 0], class_colours((0, 1, 4))[2].tolist()]
    ]


def test_a_description_of_before_there_were_label_maps_is_of_a_generator_without() -> None:
    from lichen.settings import from_plain
    from lichen.training.specs import DiffusionSpec

    about = {
        "image_shape": [2, 16, 16],
        "affine": np.eye(4).tolist(),
        "autoencoder": {"kind": "none"},
        "denoiser": {"channels": [8, 8]},
        "objective": "v",
        "is_phantom": True,
    }
    assert from_plain(DiffusionSpec, about).classes == ()
    assert from_plain(DiffusionSpec, {**about, "classes": [0, 1, 4]}).classes == (0, 1, 4)
    with pytest.raises(ConfigError, match="rising numbers"):
        from_plain(DiffusionSpec, {**about, "classes": [1, 0]})
