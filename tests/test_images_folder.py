"""Which images a folder holds, whose they are, and how they are split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichen.config import ImagesConfig
from lichen.errors import ImageError
from lichen.images import Image, Item, Source, load_set, open_folder, open_source, split_by_patient, write_sample


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.eye(8, dtype=np.uint8) * 200).save(path)


def table(folder: Path, text: str, name: str = "metadata.csv") -> None:
    (folder / name).write_text(text, encoding="utf-8")


def names(source: Source) -> list[str]:
    return [item.name for item in source.items]


def patients(source: Source) -> list[str]:
    return [item.patient for item in source.items]


def test_without_a_table_each_image_is_its_own_patient_and_the_source_says_so(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a/x.png", "a/y.tif", ".hidden/x.png", "a/.x.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_folder(tmp_path)
    assert names(source) == patients(source) == ["a/x.png", "a/y.tif", "b/x.PNG"]
    assert not source.patients_known
    assert "each image counts as a patient of its own" in source.note


@pytest.mark.parametrize(("file", "separator"), [("metadata.csv", ","), ("participants.tsv", "\t")])
@pytest.mark.parametrize("column", ["patient", "subject", "group"])
def test_patients_come_from_the_table(tmp_path: Path, file: str, separator: str, column: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    rows = [("age", "file", column), ("1", "c.png", "P1"), ("2", " b.png ", "P2"), ("3", "./a.png", "P1")]
    table(tmp_path, "\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows), file)
    source = open_folder(tmp_path)
    assert patients(source) == ["P1", "P2", "P1"]
    assert source.patients_known


def test_only_listed_images_are_read_where_label_maps_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for name in ("images/a.png", "labels/a.png", "images/a_mask.png"):
        picture(tmp_path / name)
    table(tmp_path, "file,mask,patient\nimages/a.png,images/a_mask.png,P1\n")
    assert names(open_folder(tmp_path)) == ["images/a.png"]


def test_an_unlisted_image_beside_listed_ones_is_an_error_that_names_it(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    table(tmp_path, "file,patient\nimages/a.png,P1\n")
    with pytest.raises(ImageError, match=r"b\.png has no row in metadata\.csv"):
        open_folder(tmp_path)


def two_columns(folder: Path, pairs: list[tuple[str, str]]) -> Path:
    for index in range(len(pairs)):
        picture(folder / f"{index:02}.png")
    rows = [f"{index:02}.png,{patient},{group}" for index, (patient, group) in enumerate(pairs)]
    table(folder, "\n".join(["file,patient,group", *rows]))
    return folder


def test_of_patient_and_group_the_coarser_is_taken_unless_another_is_asked_for(tmp_path: Path) -> None:
    folder = two_columns(tmp_path, [("a", "1"), ("b", "1"), ("c", "2")])
    assert patients(open_folder(folder)) == ["1", "1", "2"]
    assert patients(open_folder(folder, patient_column="patient")) == ["a", "b", "c"]


def test_a_group_that_is_finer_than_the_patient_is_not_taken(tmp_path: Path) -> None:
    assert patients(open_folder(two_columns(tmp_path, [("a", "1"), ("a", "2"), ("c", "3")]))) == ["a", "a", "c"]


def test_columns_that_cut_across_each_other_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="patient and group, which cut across"):
        open_folder(two_columns(tmp_path, [("a", "1"), ("a", "2"), ("b", "2")]))


def test_a_study_arm_is_not_taken_for_a_patient(tmp_path: Path) -> None:
    folder = two_columns(tmp_path, [(f"p{index}", "case" if index % 2 else "control") for index in range(24)])
    with pytest.raises(ImageError, match="a study arm rather than one patient") as raised:
        open_folder(folder)
    assert raised.value.fix.endswith("--images.patient-column patient")
    assert len(set(patients(open_folder(folder, patient_column="patient")))) == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient\na.png,P1\nb.png,P1\n", r"lists b\.png, which is not in"),
        ("file,patient\na.png,\n", r"no patient for a\.png in line 2"),
        ("file,patient\na.png,P1\na.png,P2\n", r"names a\.png twice, again in line 3"),
        ("file,patient\na.png,P1,extra\n", "3 cells in line 2 and 2 in its header"),
        ("file,patient\n../a.png,P1\n", "no path inside"),
        ("file,patient\n/etc/a.png,P1\n", "no path inside"),
        ("file,patient\nmetadata.csv,P1\n", "is no NIfTI, PNG, JPEG or TIFF"),
        ("image,patient\na.png,P1\n", "no column named file"),
        ("file;patient\na.png;P1\n", "save it with commas between the cells"),
        ("file,patient,patient\na.png,P1,P2\n", "several columns named patient"),
        ("file,age\na.png,3\n", "none of the columns patient, subject, group"),
        ("file,patient\n", "has no images"),
        ("", "no column named file"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path, text)
    with pytest.raises(ImageError, match=message):
        open_folder(tmp_path)


def test_a_table_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes("file,patient\na.png,Müller\n".encode("latin-1"))
    with pytest.raises(ImageError, match="cannot be read as a table"):
        open_folder(tmp_path)


def test_a_misspelt_patient_column_gets_the_nearest_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path, "file,patient_id\na.png,P1\n")
    with pytest.raises(ImageError, match="no column patientid") as raised:
        open_folder(tmp_path, patient_column="patientid")
    assert "--images.patient-column patient_id" in raised.value.fix


def test_a_patient_column_without_a_table_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"no metadata\.csv to find the column patient in"):
        open_folder(tmp_path, patient_column="patient")


@pytest.mark.parametrize("with_table", [False, True])
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, with_table: bool) -> None:
    picture(tmp_path / "elsewhere/secret.png")
    inside = tmp_path / "inside"
    picture(inside / "a.png")
    (inside / "link.png").symlink_to(tmp_path / "elsewhere/secret.png")
    if with_table:
        table(inside, "file,patient\na.png,P1\nlink.png,P2\n")
    with pytest.raises(ImageError, match=r"link\.png is a link that leads out of the folder"):
        open_folder(inside)


def test_a_linked_folder_outside_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere/secret.png")
    picture(tmp_path / "inside/a.png")
    (tmp_path / "inside/more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="more is a link that leads out of the folder"):
        open_folder(tmp_path / "inside")


def test_a_link_to_an_image_of_the_folder_is_not_a_second_patient(tmp_path: Path) -> None:
    picture(tmp_path / "z.png")
    (tmp_path / "a.png").symlink_to("z.png")
    assert names(open_folder(tmp_path)) == ["z.png"]


@pytest.mark.parametrize("target", ["nothing.png", "link.png"])
@pytest.mark.parametrize("with_table", [False, True])
def test_a_link_that_leads_to_nothing_is_refused(tmp_path: Path, target: str, with_table: bool) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(target)
    if with_table:
        table(tmp_path, "file,patient\na.png,P1\nlink.png,P2\n")
    with pytest.raises(
        ImageError, match=r"link\.png is a link that leads (to nothing|nowhere)|lists link\.png, which is not in"
    ):
        load_set(open_folder(tmp_path).items, (8, 8))


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path, f"file,patient\n{'a' * 400}.png,P1\n")
    with pytest.raises(ImageError, match="which is not in"):
        open_folder(tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(bytes(tmp_path) + b"/a\xff.png"))
    with pytest.raises(ImageError, match="a name that is no UTF-8 text"):
        open_folder(tmp_path)


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "locked/b.png")
    scan = os.scandir

    def locked(path: str) -> object:  # root, who runs tests in containers, may read every folder
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(ImageError, match=r"locked cannot be read \(Permission denied\)"):
        open_folder(tmp_path)


def test_pictures_and_volumes_do_not_mix(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write_sample(tmp_path / "v.nii.gz", np.zeros((1, 4, 4, 4), np.float32), np.eye(4), {})
    with pytest.raises(ImageError, match=r"a\.png is a picture, v\.nii\.gz a volume"):
        open_folder(tmp_path)


def test_an_empty_folder_says_what_else_might_be_meant(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no images"):
        open_folder(tmp_path)
    np.savez(tmp_path / "set.npz", train_images=np.zeros((2, 8, 8)))
    with pytest.raises(ImageError, match=r"set\.npz is to be given by its own path"):
        open_folder(tmp_path)


def test_a_path_that_is_not_there_or_is_one_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nowhere is not there"):
        open_folder(tmp_path / "nowhere")
    picture(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png is a file"):
        open_folder(tmp_path / "a.png")


def test_the_settings_choose_the_source(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert names(open_source(ImagesConfig(path=tmp_path))) == ["a.png"]
    phantoms = open_source(ImagesConfig(phantom_patients=5))
    assert phantoms.is_phantom
    assert len(set(patients(phantoms))) == 5


def test_the_version_of_an_item_changes_with_its_file(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    before = open_folder(tmp_path).items[0].version
    assert open_folder(tmp_path).items[0].version == before
    os.utime(tmp_path / "a.png", ns=(0, 1))
    assert open_folder(tmp_path).items[0].version != before


def _never() -> Image:
    raise AssertionError("splitting decodes nothing")


def made_up(who: list[str]) -> Source:
    return Source(
        "made up", tuple(Item(f"{index}", name, _never) for index, name in enumerate(who)), 2, is_phantom=True
    )


people = st.lists(st.integers(0, 60).map("P{}".format), min_size=2, max_size=120)


@given(who=people, fraction=st.floats(0, 0.95), seed=st.integers(0, 99), data=st.data())
def test_a_split_keeps_patients_whole_and_depends_on_nothing_but_patients_and_seed(
    who: list[str], fraction: float, seed: int, data: st.DataObject
) -> None:
    train, held_out = split_by_patient(made_up(who), fraction, seed)
    assert sorted(item.name for item in (*train, *held_out)) == sorted(map(str, range(len(who))))
    trained, kept = {item.patient for item in train}, {item.patient for item in held_out}
    assert not trained & kept
    count = len(set(who))
    if count > 1 and fraction > 0:
        assert min(len(trained), len(kept)) >= 1
    if 1 <= count * fraction <= count - 1:
        assert abs(len(kept) - count * fraction) <= 0.5
    shuffled = data.draw(st.permutations([*who, *who[:3]]))
    assert {item.patient for item in split_by_patient(made_up(shuffled), fraction, seed)[1]} == kept


@given(who=people, seed=st.integers(0, 99))
def test_a_larger_share_only_adds_patients(who: list[str], seed: int) -> None:
    small, large = ({item.patient for item in split_by_patient(made_up(who), share, seed)[1]} for share in (0.2, 0.6))
    assert small <= large


def test_the_split_is_the_same_on_every_machine_and_in_every_version() -> None:
    held_out = split_by_patient(made_up([f"P{index}" for index in range(10)]), 0.4, 0)[1]
    assert [item.patient for item in held_out] == ["P0", "P1", "P7", "P8"]


def test_another_seed_holds_out_others() -> None:
    source = made_up([f"P{index}" for index in range(100)])
    first, second = (set(split_by_patient(source, 0.5, seed)[1]) for seed in (0, 1))
    assert 15 < len(first & second) < 35
