"""What leaves the house: which images, under which policy, and that nothing else does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lichen.audited import CopyRate, Sensitivity, read_audited, safe_name
from lichen.chain.releasing import release
from lichen.cli import main
from lichen.config import SamplingConfig
from lichen.errors import AuditError, ConfigError, ImageError, LichenError
from lichen.files import sha256_of
from lichen.images.write import SIDECAR_FIELDS
from lichen.options import ReleaseOptions
from lichen.release import Origin, SecondLook, data_card, decide
from lichen.report.data_card import data_card_page
from lichen.runs import RunFolder
from lichen.sampling.folder import sample_identity
from lichen.training.generator import Generator
from lichen.training.specs import DiffusionSpec, StyleGAN2Spec
from lichen.workshop import workshop

NAMES = ("patient-0123456789ab", "image-ba9876543210")
"""Pseudonyms of a training patient and image, which no release may hold."""


def audit_json(files: Mapping[str, str], flagged: tuple[str, ...] = (), **changed: Any) -> dict[str, Any]:
    """An ``audit.json`` of made-up findings for files with these sums."""
    images = [
        {
            "file": name,
            "sha256": digest,
            "score": 0.5,
            "score_name": "aligned",
            "scores": {"aligned": 0.5},
            "p_value": 0.001 if name in flagged else 0.5,
            "flagged": name in flagged,
            "identical": False,
            "nearest": NAMES[0],
            "nearest_image": NAMES[1],
            "transform": None,
        }
        for name, digest in files.items()
    ]
    verdict = changed.get("verdict", "copies" if flagged else "clean")
    return {
        "lichen": "0.1.0",
        "layout": 2,
        "verdict": verdict,
        "exit_code": {"clean": 0, "copies": 1}.get(verdict, 3),
        "images": images,
        "copies": list(flagged),
        "copy_rate": {"estimate": 0.01, "low": 0.0, "high": 0.03, "of": len(images)},
        "self_test": {"exact": {"power": 1.0, "false_positive_rate": 0.02, "n": 30}},
        "settings": {"scores": ["aligned"], "false_discovery_rate": 0.1, "level": 0.05, "withheld": "/home/x/secret"},
        "inputs": {"train": "a" * 64, "generator": "b" * 64},
        "not_tested": ["copies of a part of an image are not looked for"],
        **changed,
    }


def write_set(folder: Path, count: int = 6) -> dict[str, str]:
    """Some pictures with lichen's sidecars; name -> sum."""
    folder.mkdir(parents=True)
    for index in range(count):
        path = folder / f"sample-{index:06}.png"
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (16, 16), np.uint8)).save(path)
        sidecar = {"synthetic": True, "checkpoint_sha256": "b" * 64, "index": index}
        path.with_suffix(".json").write_text(json.dumps(sidecar), encoding="utf-8")
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.png"))}


def prepared(home: Path, flagged: tuple[str, ...] = (), **changed: Any) -> ReleaseOptions:
    files = write_set(home / "made")
    (home / "audit").mkdir()
    (home / "audit" / "audit.json").write_text(json.dumps(audit_json(files, flagged, **changed)), encoding="utf-8")
    return ReleaseOptions(home / "audit", home / "out", home / "made", max_copy_rate=0.9)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_passed_leaves_with_its_bytes_and_what_was_flagged_stays(tmp_path: Path) -> None:
    options = prepared(tmp_path, ("sample-000002.png",))
    done = release(options)
    assert done.decision.exit_code == 0
    kept = [0, 1, 3, 4, 5]
    images = {f"images/sample-{i:06}{suffix}" for i in kept for suffix in (".png", ".json")}
    found = everything(options.out)
    assert found.keys() == images | {"data-card.json", "data-card.html", "SHA256SUMS"}
    for name in images:
        assert found[name] == (tmp_path / "made" / name.removeprefix("images/")).read_bytes()


def test_sha256sum_finds_every_file_of_a_release_as_it_was(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    done = release(options)
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=options.out, capture_output=True, text=True, check=True
    )
    assert len(checked.stdout.splitlines()) == len(everything(options.out)) - 1
    assert done.sums_sha256 == sha256_of(options.out / "SHA256SUMS")


def test_a_release_holds_no_name_of_a_real_image_or_of_a_folder(tmp_path: Path) -> None:
    options = prepared(tmp_path, ("sample-000002.png",))
    release(options)
    for name, content in everything(options.out).items():
        for private in (*NAMES, "sample-000002", "secret", str(tmp_path)):
            assert private.encode() not in content, name


def test_the_card_says_numbers_verdict_sums_and_that_nothing_was_measured(tmp_path: Path) -> None:
    options = prepared(tmp_path, ("sample-000002.png",))
    release(options)
    card = json.loads((options.out / "data-card.json").read_text())
    assert card["images"] == {
        "audited": 6,
        "released": 5,
        "removed_as_copies": 1,
        "removed_not_comparable": 0,
    }
    assert card["audit"]["sha256"] == sha256_of(tmp_path / "audit" / "audit.json")
    assert card["audit"]["self_test"]["exact"]["power"] == 1.0
    assert card["generator"]["checkpoint_sha256"] == "b" * 64
    assert card["carbon"] is None
    page = (options.out / "data-card.html").read_text()
    assert "not measured" in page
    assert "copies of a part of an image are not looked for" in page
    assert not re.search(r"<(script|img|link)|https?://", page)


def test_an_image_that_no_score_could_compare_stays_back(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    path = tmp_path / "audit" / "audit.json"
    audit = json.loads(path.read_text())
    audit["images"][1]["score"] = None
    path.write_text(json.dumps(audit))
    assert len(release(options).audited.released) == 5
    assert not (options.out / "images" / "sample-000001.png").exists()


def changed_file(home: Path) -> None:
    (home / "made" / "sample-000002.png").write_bytes(b"other")


def missing_file(home: Path) -> None:
    (home / "made" / "sample-000002.png").unlink()


def added_file(home: Path) -> None:
    (home / "made" / "more.png").write_bytes(b"more")


def linked_file(home: Path) -> None:
    path = home / "made" / "sample-000002.png"
    path.rename(home / "elsewhere.png")
    path.symlink_to(home / "elsewhere.png")


def linked_inside(home: Path) -> None:
    path = home / "made" / "sample-000002.png"
    path.rename(home / "made" / ".hidden.png")
    path.symlink_to(".hidden.png")


def pipe(home: Path) -> None:
    path = home / "made" / "sample-000002.png"
    path.unlink()
    os.mkfifo(path)


def linked_sidecar(home: Path) -> None:
    path = home / "made" / "sample-000003.json"
    path.rename(home / "elsewhere.json")
    path.symlink_to(home / "elsewhere.json")


def other_generator(home: Path) -> None:
    (home / "made" / "sample-000003.json").write_text(json.dumps({"synthetic": True, "checkpoint_sha256": "c" * 64}))


@pytest.mark.parametrize("flagged", [(), ("sample-000002.png",)])
@pytest.mark.parametrize(
    "spoil",
    [changed_file, missing_file, added_file, linked_file, linked_inside, pipe, linked_sidecar, other_generator],
)
def test_images_that_are_not_those_audited_are_never_released(
    spoil: Any, flagged: tuple[str, ...], tmp_path: Path
) -> None:
    options = prepared(tmp_path, flagged)
    spoil(tmp_path)
    with pytest.raises((AuditError, ImageError)):
        release(options)
    assert left(tmp_path) <= {"audit", "made", "elsewhere.png", "elsewhere.json"}


def left(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


ODD_NAMES = (
    "../x.png", "/etc/x.png", "a/../../x.png", "a//x.png", "./x.png", ".x.png", "a/.b/x.png", "x\0.png", "x\n.png", "",
    "a\\x.png", "C:\\x.png", "x\u202egnp.png", " x.png", "x" * 2000, "\udcff.png", "a/", "..",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_leads_out_or_reads_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"audit\.json is not one that can be released from"):
        read_audited(audit_json({name: "a" * 64}))


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_a_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        safe_name(name)
    except ValueError:
        return
    home = Path("/home/of/images")
    assert Path(os.path.normpath(home / name)).is_relative_to(home)
    assert os.path.normpath(home / name) == str(home / name)
    assert "\n" not in name


def test_html_in_what_an_audit_says_is_text_on_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    options = prepared(tmp_path, not_tested=[evil], self_test={evil: {"power": 1.0, "false_positive_rate": None}})
    release(options)
    page = (options.out / "data-card.html").read_text()
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)") == 2


BROKEN: dict[str, dict[str, Any]] = {
    "an older layout": {"layout": 1},
    "an unknown verdict": {"verdict": "fine"},
    "no finding": {"images": []},
    "a flag that is no flag": {"images": [{"file": "a.png", "sha256": "a" * 64, "flagged": "no"}]},
    "a copy rate above 1": {"copy_rate": {"estimate": 0.5, "low": 0.1, "high": 1.5}},
    "a copy rate upside down": {"copy_rate": {"estimate": None, "low": 0.5, "high": 0.1}},
    "a power of NaN": {"self_test": {"exact": {"power": float("nan"), "false_positive_rate": None}}},
    "sums that are none": {"inputs": {"train": "../../etc/passwd"}},
    "copies that are not the flagged ones": {"copies": ["a.png"]},
    "a sentence with a pseudonym": {"not_tested": [f"{NAMES[0]} was not compared"]},
    "scores in one word": {"settings": {"scores": "aligned", "false_discovery_rate": 0.1}},
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_audit_that_is_not_understood_is_refused(what: str) -> None:
    with pytest.raises(AuditError):
        read_audited(audit_json({"a.png": "a" * 64}, **BROKEN[what]))


@pytest.mark.parametrize("key", ["copy_rate", "self_test", "images", "verdict", "settings", "inputs", "not_tested"])
def test_an_audit_that_lacks_something_is_refused(key: str) -> None:
    audit = audit_json({"a.png": "a" * 64})
    del audit[key]
    with pytest.raises(AuditError, match=key):
        read_audited(audit)


def edited(**changed: Any) -> dict[str, Any]:
    """An audit that flagged the second of six images, after somebody changed it."""
    return {**audit_json({f"{i}.png": f"{i}" * 64 for i in range(6)}, ("1.png",)), **changed}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (edited(verdict="clean", exit_code=0), "'clean', and it flags images"),
        (edited(verdict="inconclusive"), "exit code 1"),
        (
            edited(
                verdict="clean",
                exit_code=0,
                copies=[],
                images=[{**image, "flagged": False} for image in edited()["images"]],
            ),
            "does not flag 1.png",
        ),
    ],
)
def test_an_audit_that_was_made_to_look_better_is_refused(found: dict[str, Any], why: str) -> None:
    assert read_audited(edited()).flagged == 1
    with pytest.raises(AuditError, match=why):
        read_audited(found)


def test_an_audit_that_does_not_bind_its_images_is_refused() -> None:
    audit = audit_json({"a.png": "a" * 64})
    del audit["images"][0]["sha256"]
    with pytest.raises(AuditError, match="does not bind"):
        read_audited(audit)


def many(count: int, flagged: int, **changed: Any) -> Any:
    files = {f"{i}.png": "a" * 64 for i in range(count)}
    return read_audited(audit_json(files, tuple(list(files)[:flagged]), **changed))


def test_the_upper_end_counts_the_copies_that_removing_the_flagged_ones_left() -> None:
    audited = replace(many(1000, 100), copy_rate=CopyRate(0.1, 0.08, 0.15))
    # 150 copies at most, of which 90 % of the 100 flagged are gone: 60 among 900
    assert audited.copy_rate_high == pytest.approx(60 / 900)


def test_no_filter_makes_the_upper_end_smaller_than_none_found_among_as_many() -> None:
    audited = replace(many(1000, 100), copy_rate=CopyRate(0.05, 0.02, 0.06))
    assert audited.copy_rate_high == pytest.approx(3 / 900)
    half = replace(
        audited,
        self_test={"a": Sensitivity(1.0, 0.0, 9), "b": Sensitivity(0.0, 0.0, 9), "c": Sensitivity(None, None, 9)},
    )
    assert half.copy_rate_high == pytest.approx(3 / 450)


def test_without_a_copy_rate_or_a_power_nobody_can_say() -> None:
    for audited in (many(1000, 0, copy_rate=None), many(1000, 0, self_test={})):
        assert audited.copy_rate_high is None
        assert decide(audited, None, max_copy_rate=1.0).exit_code == 3
        assert decide(audited, None, max_copy_rate=1.0, allow_inconclusive=True).exit_code == 0


LOOK = SecondLook("pearson", "clean", (), 0.01, 0.1, {})


def test_the_policy_is_held_against_audit_and_second_look() -> None:
    clean, copies = many(1000, 0), many(1000, 10)
    unsure = replace(clean, verdict="inconclusive")
    unnamed = replace(clean, verdict="copies")
    found = replace(LOOK, verdict="copies", flagged=("1.png",))
    cases = [
        (clean, None, 0.05, False, 0),
        (clean, LOOK, 0.05, False, 0),
        (copies, LOOK, 0.05, False, 0),
        (copies, LOOK, 0.01, False, 1),
        (clean, found, 0.05, False, 1),
        (clean, found, 0.05, True, 1),
        (unsure, None, 0.05, False, 3),
        (unsure, None, 0.001, False, 3),
        (unsure, None, 0.05, True, 0),
        (unsure, None, 0.001, True, 1),
        (unsure, found, 0.05, False, 1),
        (clean, replace(LOOK, verdict="inconclusive"), 0.05, False, 3),
        (clean, replace(LOOK, verdict="inconclusive"), 0.05, True, 0),
        (clean, replace(LOOK, verdict="inconclusive", flagged=("1.png",)), 0.05, False, 3),
        (clean, replace(LOOK, verdict="inconclusive", flagged=("1.png",)), 0.05, True, 3),
        (unnamed, None, 0.05, True, 1),
        (many(10, 10), None, 1.0, False, 1),
    ]
    for number, (audited, second, limit, allowed, code) in enumerate(cases):
        done = decide(audited, second, max_copy_rate=limit, allow_inconclusive=allowed)
        assert done.exit_code == code, number
        assert bool(done.reasons) is bool(code), number


def test_a_set_of_which_nothing_passed_is_never_released() -> None:
    assert decide(many(10, 10), None, max_copy_rate=1.0, allow_inconclusive=True).exit_code == 1


def test_too_few_images_are_told_how_many_it_takes() -> None:
    (reason,) = decide(many(100, 0), None, max_copy_rate=0.01).reasons
    assert "300 images at least" in reason


@pytest.mark.parametrize("code", [1, 3])
def test_what_is_not_released_leaves_nothing_on_the_disk(code: int, tmp_path: Path) -> None:
    options = prepared(tmp_path, verdict="inconclusive" if code == 3 else "clean")
    done = release(replace(options, max_copy_rate=0.01 if code == 1 else 0.9))
    assert done.decision.exit_code == code
    assert done.folder is None
    assert left(tmp_path) == {"made", "audit"}


def test_a_second_look_that_finds_copies_keeps_the_whole_set_back_and_names_them(tmp_path: Path) -> None:
    options = prepared(tmp_path, ("sample-000002.png",))
    seen: list[str] = []

    def look(images: Path, audited: Any) -> SecondLook:
        seen.extend(sorted(path.name for path in images.glob("*.png")))
        return replace(LOOK, verdict="copies", flagged=("sample-000004.png",))

    done = release(options, look)
    assert seen == [f"sample-{i:06}.png" for i in (0, 1, 3, 4, 5)]
    assert done.decision.exit_code == 1
    second = done.as_json()["second_look"]
    assert second == {"score": "pearson", "verdict": "copies", "flagged": ["sample-000004.png"]}
    assert left(tmp_path) == {"made", "audit"}


def test_a_second_look_at_other_training_images_than_the_audit_s_releases_nothing(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    with pytest.raises(AuditError, match="other training images"):
        release(options, lambda _, __: replace(LOOK, inputs={"train": "c" * 64}))
    assert left(tmp_path) == {"made", "audit"}
    assert release(options, lambda _, __: replace(LOOK, inputs={"train": "a" * 64})).decision.exit_code == 0


def test_a_second_look_by_a_score_that_filtered_is_refused(tmp_path: Path) -> None:
    options = replace(prepared(tmp_path), second_look="aligned")
    with pytest.raises(AuditError, match="would find nothing more"):
        release(options)


def test_a_second_look_audits_what_passed_against_the_training_images(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    for name, shift in (("train", 100), ("reference", 200)):
        (tmp_path / name).mkdir()
        for index in range(12):
            pixels = np.random.default_rng(shift + index).integers(0, 255, (16, 16), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{name}-{index}.png")
    (tmp_path / "made" / "sample-000003.png").rename(tmp_path / "away.png")
    copy = (tmp_path / "train" / "train-5.png").read_bytes()
    (tmp_path / "made" / "sample-000003.png").write_bytes(copy)
    path = tmp_path / "audit" / "audit.json"
    audit = json.loads(path.read_text())
    audit["images"][3]["sha256"] = hashlib.sha256(copy).hexdigest()
    del audit["inputs"]["train"]
    path.write_text(json.dumps(audit))
    asked = replace(
        options,
        second_look="pearson",
        train=tmp_path / "train",
        reference=tmp_path / "reference",
        allow_inconclusive=True,
        quiet=True,
    )
    done = release(asked)
    assert done.second is not None
    assert done.second.flagged == ("sample-000003.png",)
    assert done.decision.exit_code == 1
    assert not options.out.exists()


def test_an_inconclusive_audit_is_released_on_request_alone_and_the_card_says_so_first(tmp_path: Path) -> None:
    options = replace(prepared(tmp_path, verdict="inconclusive"), allow_inconclusive=True)
    release(options)
    card = json.loads((options.out / "data-card.json").read_text())
    assert "INCONCLUSIVE" in card["notices"][0]
    page = data_card_page(card)
    assert page.index("INCONCLUSIVE") < page.index("<main>")


def test_an_inconclusive_audit_says_whether_it_saw_too_little_or_flagged_what_chance_may() -> None:
    few, chance = (replace(many(1000, flagged), verdict="inconclusive") for flagged in (0, 1))
    card: dict[str, Any] = {"audit_sha256": "a" * 64, "max_copy_rate": 0.05, "date": "2025-01-01"}
    for audited, words in ((few, "could not have found copies"), (chance, "it flags 1, as it may by chance")):
        assert words in decide(audited, None, max_copy_rate=0.05).reasons[0]
        assert words in data_card(audited, Origin(), None, **card)["notices"][0]


def test_json_that_lichen_did_not_write_stays_behind(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    (tmp_path / "made" / "sample-000000.json").write_text(json.dumps({"synthetic": True, "like": "Jane Doe"}))
    (tmp_path / "made" / "sample-000001.json").write_text("no JSON")
    release(options)
    there = {path.name for path in (options.out / "images").glob("*.json")}
    assert there == {f"sample-{i:06}.json" for i in (2, 3, 4, 5)}


def test_the_sidecars_that_are_taken_along_are_those_that_sampling_writes() -> None:
    written: set[str] = set()
    for spec in (DiffusionSpec, StyleGAN2Spec):
        generator = cast("Generator", SimpleNamespace(sha256="a", spec=spec))
        written |= sample_identity(generator, SamplingConfig(), 0).keys()
    assert {"affine", "classes", *written} == SIDECAR_FIELDS


def test_an_existing_folder_is_never_added_to(tmp_path: Path) -> None:
    options = prepared(tmp_path)
    (options.out / "images").mkdir(parents=True)
    with pytest.raises(AuditError, match="never added to"):
        release(options)
    with pytest.raises(AuditError, match="would join"):
        release(replace(options, out=tmp_path / "made" / "out"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(AuditError, match="never added to"):
        release(replace(options, out=tmp_path / "link"))
    (options.out / "images").rmdir()
    assert release(options).folder == options.out


def test_a_killed_release_leaves_nothing_that_looks_like_one_and_the_next_clears_it_away(tmp_path: Path) -> None:
    place = tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from lichen.workshop import workshop\n"
        f"with workshop(Path({str(place)!r})) as (folder, finish):\n"
        "    (folder / 'x').write_text('x'); print('there', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    with workshop(place):  # the other one still works: it is left alone
        assert len(left(tmp_path)) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    assert [name.startswith(".") for name in left(tmp_path)] == [True]
    deadline = time.monotonic() + 10
    while left(tmp_path) and time.monotonic() < deadline:  # the system lets go of a dead one's lock within a moment
        with workshop(place):
            pass
    assert not left(tmp_path)


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with workshop(place) as (folder, finish):
        (folder / "new").write_text("new")
        place.mkdir()
        (place / "old").write_text("old")
        with pytest.raises(ConfigError, match="cannot be made"):
            finish()
    assert left(tmp_path) == {"out"}
    assert left(place) == {"old"}


def test_options_that_make_no_sense_together_are_refused(tmp_path: Path) -> None:
    for wrong in (
        {"train": tmp_path},
        {"run": tmp_path},
        {"max_copy_rate": 1.5},
        {"second_look": "ssim", "train": tmp_path},
    ):
        with pytest.raises(ConfigError):
            ReleaseOptions(tmp_path, tmp_path, **wrong)


def test_a_missing_audit_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(LichenError, match="there is no"):
        release(ReleaseOptions(tmp_path, tmp_path / "out"))


def run_folder(path: Path, carbon: Mapping[str, Any] | None) -> RunFolder:
    """A finished run of made-up numbers, audited, of which one of six samples is flagged."""
    run = RunFolder(path)
    files = write_set(run.samples)
    run.audit.parent.mkdir()
    run.audit.write_text(json.dumps(audit_json(files, ("sample-000002.png",))))
    run.write_summary(
        {
            "is_phantom": True,
            "images": {"shape": [1, 16, 16], "spacing_mm": [1.0, 1.0], "train_images": 40, "train_patients": 20},
            "model": {"autoencoder_parameters": 2, "denoiser_parameters": 3, "denoiser_images_seen": 640},
            "sampling": {"sampler": "unipc", "steps": 20, "seed": 0, "checkpoint_sha256": "b" * 64},
            "energy": {
                "phases": [{"components": [{"source": "estimated"}, {"source": "counter"}]}, {"components": []}],
                "absent": ["ram"],
            },
            "carbon": carbon,
        }
    )
    return run


FRENCH = {
    "total_g": {"low": 5.0, "estimate": 10.0, "high": 20.0},
    "zone": "FR",
    "zone_name": "France",
    "month": 3,
    "year": 2024,
    "pue_range": [1.0, 1.58],
    "attribution": "made up for a test",
}


def test_the_grams_of_a_run_are_shared_among_the_images_released_with_range_place_and_source(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", FRENCH)
    release(ReleaseOptions(run.path, tmp_path / "out", max_copy_rate=0.9))
    card = json.loads((tmp_path / "out" / "data-card.json").read_text())
    assert card["carbon"]["per_released_image_g"] == {"low": 1.0, "estimate": 2.0, "high": 4.0}
    assert card["carbon"]["sources"] == ["counter", "estimated"]
    assert card["generator"]["images_seen"] == 640
    assert "phantoms" in card["notices"][0]
    page = (tmp_path / "out" / "data-card.html").read_text()
    for words in ("2.00 g (1.0–4.0)", "France, March, 2024", "counter, estimated", "made up for a test", "1 to 1.58"):
        assert words in page


def test_what_was_not_measured_is_none_and_never_zero(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", None)
    release(ReleaseOptions(run.path, tmp_path / "out", max_copy_rate=0.9))
    assert json.loads((tmp_path / "out" / "data-card.json").read_text())["carbon"] is None
    assert "not measured" in (tmp_path / "out" / "data-card.html").read_text()


def test_a_run_at_work_and_a_summary_of_another_generator_are_refused(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", FRENCH)
    options = ReleaseOptions(run.path, tmp_path / "out", max_copy_rate=0.9)
    with run.lock(), pytest.raises(AuditError, match="another process"):
        release(options)
    run.write_summary({**run.require_summary(), "sampling": {"checkpoint_sha256": "c" * 64}})
    with pytest.raises(AuditError, match="different generators"):
        release(options)
    run.write_summary({"sampling": {"checkpoint_sha256": "b" * 64}})
    with pytest.raises(LichenError, match="damaged"):
        release(options)
    assert left(tmp_path) == {"run"}


@pytest.mark.parametrize(
    ("verdict", "words", "code"),
    [
        ("clean", [], 0),
        ("clean", ["--max-copy-rate", "0.01"], 1),
        ("clean", ["--second-look", "aligned"], 2),
        ("clean", ["--second-look", "pearson"], 2),
        ("inconclusive", [], 3),
        ("inconclusive", ["--allow-inconclusive"], 0),
    ],
)
def test_the_exit_code_says_what_became_of_it(
    verdict: str, words: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, verdict=verdict)
    paths = [str(tmp_path / "audit"), "--synthetic", str(tmp_path / "made"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["release", *paths, "--json", "--max-copy-rate", "0.9", *words])
    assert ended.value.code == code
    assert (tmp_path / "out").exists() is (code == 0)
    if code != 2:
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == code
        assert bool(said["reasons"]) is bool(code)
