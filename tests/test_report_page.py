"""The page as a whole: what it says, what it never shows, and what it says when a part is missing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lichen.errors import RunError
from lichen.files import sha256_of
from lichen.report import write_report
from lichen.report.curves import curves_section

GENERATOR_SHA256 = "9f2c" * 16
COPY, UNAUDITED = 3, 11
"""The indices of the example's sample that is a copy and of the one that the audit never saw."""


def phantom(seed: int, size: int = 64) -> NDArray[np.float64]:
    """(size, size) in 0..1: a head-like ellipse with two ventricles and a lesion."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]

    def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float) -> NDArray[np.float64]:
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        return np.asarray(1 / (1 + np.exp(np.clip(24 * (np.hypot(u / rx, v / ry) - 1), -50, 50))))

    turn, wide = rng.normal(0, 0.06), rng.uniform(0.58, 0.68)
    image = 0.85 * ellipse(0, 0, wide + 0.06, 0.87, turn) - 0.4 * ellipse(0, 0, wide, 0.8, turn)
    for side in (-1, 1):
        image -= 0.35 * ellipse(side * 0.15, rng.normal(-0.05, 0.03), rng.uniform(0.07, 0.11), 0.3, side * 0.25)
    image += 0.3 * ellipse(rng.uniform(-0.35, 0.35), rng.uniform(-0.4, 0.4), 0.09, 0.11, 0)
    return np.asarray((image + rng.normal(0, 0.012, image.shape)).clip(0, 1))


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_sample(samples: Path, index: int, *, volumes: bool = False) -> str:
    samples.mkdir(parents=True, exist_ok=True)
    picture = phantom(index)
    if volumes:
        z, y, x = np.mgrid[-1:1:40j, -1:1:64j, -1:1:64j]
        inside = np.hypot(np.hypot(x / 0.7, y / 0.85), z / 0.9) < 1
        voxels = np.swapaxes(inside * (0.3 + 0.7 * picture), 0, 2)[:, ::-1].astype(np.float32)
        name = f"sample-{index:06}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 1.5, 1.0])), samples / name)
    else:
        name = f"sample-{index:06}.png"
        Image.fromarray((picture * 65535).round().astype(np.uint16)).save(samples / name)
    write_json(samples / f"sample-{index:06}.json", {"synthetic": True, "checkpoint_sha256": GENERATOR_SHA256})
    return name


def energy_record(low_j: float | None, energy_j: float | None, high_j: float | None) -> dict[str, float | None]:
    return {"low_j": low_j, "energy_j": energy_j, "high_j": high_j}


def phase(name: str, duration_s: float, components: Mapping[str, tuple[str, float]]) -> dict[str, object]:
    widths = {"counter": (1.0, 1.0), "polled": (0.95, 1.05), "estimated": (0.6, 2.0)}
    parts = [
        {
            "component": component,
            "source": source,
            **energy_record(joules * widths[source][0], joules, joules * widths[source][1]),
        }
        for component, (source, joules) in components.items()
    ]
    totals = {key: sum(float(str(part[key])) for part in parts) for key in ("low_j", "energy_j", "high_j")}
    return {"phase": name, "duration_s": duration_s, **totals, "components": parts}


def example_summary(*, volumes: bool = False, place: bool = True, gpu: bool = True) -> dict[str, Any]:
    """A finished run, as the chain writes it."""
    spent = {"read": (4.2, 40), "autoencoder": (61, 900), "encode": (2.1, 35), "diffusion": (118, 2_100)}
    spent |= {"denoise": (14, 260), "decode": (2.5, 30), "audit": (1.4, 22)}
    phases = []
    for name, (seconds, joules) in spent.items():
        components = {"cpu": ("estimated", joules * (0.4 if gpu else 1.0))}
        if gpu:
            components |= {"gpu0": ("counter", joules * 2.0), "gpu1": ("polled", joules * 0.6)}
        phases.append(phase(name, seconds, components))
    total = {key: sum(float(str(entry[key])) for entry in phases) for key in ("low_j", "energy_j", "high_j")}
    intensity = (22.0, 44.0, 61.0) if place else (20.0, None, 900.0)

    def grams(joules: Mapping[str, Any]) -> dict[str, float | None]:
        low, high = (
            joules[k] / 3.6e6 * g * p for k, g, p in (("low_j", intensity[0], 1.0), ("high_j", intensity[2], 1.58))
        )
        estimate = None if intensity[1] is None else joules["energy_j"] / 3.6e6 * intensity[1] * 1.25
        return {"low": low, "estimate": estimate, "high": high}

    return {
        "lichen": "0.1.0",
        "state": "finished",
        "finished_at": "2026-03-02T14:05:09+00:00",
        "label": "built-in phantoms (2d)",
        "is_phantom": True,
        "images": {
            "train_images": 672,
            "train_patients": 168,
            "held_out_images": 448,
            "held_out_patients": 112,
            "shape": [1, 64, 64, 40] if volumes else [1, 64, 64],
            "spacing_mm": [1.0, 1.0, 1.5] if volumes else [1.0, 1.0],
            "patients_known": True,
            "note": "",
        },
        "model": {
            "autoencoder_parameters": 1_234_567,
            "denoiser_parameters": 8_765_432,
            "latent_shape": [4, 16, 16],
            "latent_scale": [0.912, 1.034, 0.871, 1.102],
            "objective": "v",
            "autoencoder_images_seen": 200_000,
            "denoiser_images_seen": 1_000_000,
            "reconstruction_l1": 0.0123,
        },
        "energy": {
            "phases": phases,
            "total": total,
            "meters": ["GPU 0: energy counter of the driver", "CPU: estimated from process time and power per core"],
        },
        "carbon": {
            "zone": "FR" if place else None,
            "zone_name": "France" if place else None,
            "month": None,
            "year": 2024 if place else None,
            "pue": None,
            "pue_range": [1.0, 1.58],
            "g_per_kwh": dict(zip(("low", "estimate", "high"), intensity, strict=True)),
            "total_g": grams(total),
            "phases": [{"phase": entry["phase"], **grams(entry)} for entry in phases],
            "per_released_image_g": {key: value and value / 99 for key, value in grams(total).items()},
            "equivalents": [
                {"text": "0.0003 km by car in use, EU (175 g/km, Green Algorithms 2022)"},
                {"text": "2 minutes of uptake by a tree (11 kg a year, Green Algorithms 2022)"},
            ],
            "note": "" if place else "the place is unknown: from Lesotho (2022) to Turkmenistan (2023)",
            "attribution": "Electricity carbon intensity: Ember, Monthly and Yearly Electricity Data, CC BY 4.0 "
            "(https://ember-energy.org). Selection and format changed.",
        },
        "sampling": {
            "count": 100,
            "sampler": "unipc",
            "schedule": "karras",
            "steps": 20,
            "network_calls": 20,
            "seed": 0,
            "checkpoint_sha256": GENERATOR_SHA256,
        },
        "audit": {"verdict": "copies", "copies": 1, "tested": 99},
        "quality": {
            "kernel_distance": {
                "synthetic": {"value": 0.0061, "standard_error": 0.0006},
                "real": {"value": 0.0021, "standard_error": 0.0006},
                "ratio": 2.9,
                "ratio_to_real_high": 1.85,
                "features": "random convolutions",
            }
        },
        "provenance": {
            "command": "lichen run --out runs/phantoms",
            "python": "3.11.7",
            "torch": "2.13.0",
            "platform": "Linux-6.1-x86_64",
            "device": "cuda:0",
            "commit": None,
        },
    }


def example_audit(names: list[str]) -> dict[str, Any]:
    """The file of an audit that looked at all ``names`` but one, and found one copy."""
    return {
        "lichen": "0.1.0",
        "verdict": "copies",
        "exit_code": 1,
        "counts": {
            "synthetic_images": len(names) - 1,
            "synthetic_not_comparable": 0,
            "train_images": 672,
            "train_patients": 168,
            "train_duplicates": 0,
            "reference_images": 448,
            "reference_patients": 112,
        },
        "resolution": {"patients": 112, "smallest_p": 1 / 113, "detectable_share": 10 / 113, "patients_needed": 0},
        "settings": {"false_discovery_rate": 0.1, "detectable_share": 0.1, "scores": ["pearson"]},
        "images": [
            {
                "file": name,
                "score": 0.998 if index == COPY else 0.8 + 0.001 * index,
                "score_name": "pearson",
                "p_value": 1 / 113 if index == COPY else 0.4,
                "flagged": index == COPY,
                "identical": False,
                "nearest_image": f"image-{index:012}",
                "nearest": f"patient-{index:012}",
            }
            for index, name in enumerate(names)
            if index != UNAUDITED
        ],
        "copies": [name for index, name in enumerate(names) if index == COPY],
        "not_tested": ["mirrored, rotated or shifted copies", "copies of a part of an image"],
        "inputs": {"generator": GENERATOR_SHA256},
    }


def example_run(folder: Path, *, volumes: bool = False, place: bool = True, gpu: bool = True, count: int = 16) -> Path:
    """A run folder as a finished ``lichen run`` leaves it."""
    names = [write_sample(folder / "samples", index, volumes=volumes) for index in range(count)]
    write_json(folder / "summary.json", example_summary(volumes=volumes, place=place, gpu=gpu))
    write_json(folder / "audit" / "audit.json", example_audit(names))
    (folder / "config.yaml").write_text("images:\n  phantoms: 2d\ntraining:\n  seed: 0\n", encoding="utf-8")
    rng, lines = np.random.default_rng(0), []
    for name, images, first, floor in (("autoencoder", 200_000, 0.5, 0.012), ("diffusion", 1_000_000, 1.0, 0.21)):
        for seen in np.linspace(images / 200, images, 200):
            loss = (floor + first * np.exp(-9 * (seen / images) ** 0.55)) * np.exp(rng.normal(0, 0.04))
            lines.append({"phase": name, "images_seen": round(seen), "loss": loss, "learning_rate": 1e-3})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


class Parsed(HTMLParser):
    """What a browser would load, and what it would show as text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.loaded: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        names = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}
        self.loaded += [value or "" for name, value in attrs if name in names]
        self.loaded += [url for _, value in attrs for url in re.findall(r"url\(([^)]*)\)", value or "")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def rendered(run_dir: Path) -> tuple[str, Parsed]:
    html = write_report(run_dir).read_text(encoding="utf-8")
    return html, Parsed(html)


def pictures(page: Parsed) -> list[NDArray[np.uint8]]:
    """The pixels of every picture in the page."""
    uris = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    return [np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))) for uri in uris]


def edit(path: Path, change: dict[str, Any]) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **change})


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    html, page = rendered(example_run(tmp_path))
    assert page.loaded
    assert {url[:1] if url[:1] == "#" else url[:15] for url in page.loaded} == {"#", "data:image/png;"}
    assert not re.search(r"@import|url\((?!#)", html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert "default-src 'none'" in html


def test_a_flagged_image_is_withheld_and_its_pixels_are_nowhere_in_the_page(tmp_path: Path) -> None:
    run = example_run(tmp_path)
    before = pictures(rendered(run)[1])
    flagged = np.round(np.round(phantom(COPY) * 65535) / 257)
    assert not any(np.array_equal(picture, flagged) for picture in before)

    # the same file, once the audit calls it no copy, shows that the comparison above could have found it
    audit = json.loads((run / "audit" / "audit.json").read_text(encoding="utf-8"))
    for image in audit["images"]:
        image["flagged"] = False
    write_json(run / "audit" / "audit.json", audit)
    after = pictures(rendered(run)[1])
    assert any(np.array_equal(picture, flagged) for picture in after)
    assert len(after) == len(before) + 1


def test_a_copy_is_named_beside_its_nearest_training_image_and_struck_out_in_the_gallery(tmp_path: Path) -> None:
    html, page = rendered(example_run(tmp_path))
    assert "withheld: copy of a training image" in page.text
    assert f"<s><bdi>sample-{COPY:06}.png</bdi></s>" in html
    assert f"patient-{COPY:012}" in page.text
    assert f"image-{COPY:012}" in page.text
    assert "1 copy of a training image" in page.text


def test_a_real_name_in_the_file_of_an_older_audit_is_not_shown(tmp_path: Path) -> None:
    run = example_run(tmp_path)
    audit = json.loads((run / "audit" / "audit.json").read_text(encoding="utf-8"))
    for image in audit["images"]:
        image["nearest"], image["nearest_image"] = "Canarius-Petra", "Canarius-Petra/scan.png"
    pair = dict.fromkeys(("image", "patient", "other_image", "other_patient"), "Canarius-Petra")
    audit["duplicates"] = {"within_training": [pair], "left_out_patients": ["Canarius-Petra"]}
    write_json(run / "audit" / "audit.json", audit)
    html, page = rendered(run)
    assert "Canarius" not in html
    assert "1 pair of two training patients looks like one image." in page.text


def test_the_nearest_training_image_of_an_image_that_passed_is_not_named(tmp_path: Path) -> None:
    _, page = rendered(example_run(tmp_path))
    assert f"image-{4:012}" not in page.text


def test_a_sample_that_the_audit_never_saw_is_not_shown(tmp_path: Path) -> None:
    _, page = rendered(example_run(tmp_path))
    assert page.count("img") == 14
    assert f"sample-{UNAUDITED:06}.png" not in page.text
    assert "1 is not shown, because the audit has not compared it." in page.text


@pytest.mark.parametrize("content", [None, "not JSON {", "[]"])
def test_without_an_audit_no_sample_is_shown_and_the_page_says_why(tmp_path: Path, content: str | None) -> None:
    run = example_run(tmp_path)
    (run / "audit" / "audit.json").unlink()
    if content is not None:
        (run / "audit" / "audit.json").write_text(content, encoding="utf-8")
    _, page = rendered(run)
    assert page.count("img") == 0
    assert "Not audited" in page.text
    assert "None is shown, because no audit has looked at them" in page.text


def test_distances_of_samples_have_their_95_percent_interval_in_one_form(tmp_path: Path) -> None:
    _, page = rendered(example_run(tmp_path, count=3))
    assert "0.00610 (0.0049 to 0.0073, 95 %)" in page.text
    probe = {"images_seen": 320, "share": 0.0, "above": 0, "n": 8, "distance": 0.0061, "distance_error": 0.0006}
    *_, quality = curves_section({"probe": [{**probe, "images_seen": 160}, probe]})
    assert "network: 0.00610 (0.0049 to 0.0073, 95 %) at the last probe." in quality.words


def test_an_inconclusive_verdict_stands_beside_the_images(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=3)
    resolution = {"patients": 9, "smallest_p": 0.1, "detectable_share": 1.0, "patients_needed": 90}
    edit(run / "audit" / "audit.json", {"verdict": "inconclusive", "resolution": resolution})
    _, page = rendered(run)
    gallery = page.text[page.text.index("Synthetic images\n") :]
    assert "about 90 more held-out patients would do" in gallery


def test_names_from_the_run_folder_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>\" onload=\"x\" '& Ünïcødé 病院"
    run = example_run(tmp_path)
    summary = example_summary()
    summary["label"] = evil
    summary["provenance"] = {"command": evil, evil: evil}
    summary["energy"]["meters"] = [evil]
    summary["energy"]["phases"][0]["phase"] = evil
    summary["energy"]["phases"][1]["components"][0]["component"] = evil
    summary["carbon"]["attribution"] = summary["carbon"]["zone_name"] = summary["carbon"]["note"] = evil
    summary["carbon"]["equivalents"] = [{"text": evil}]
    write_json(run / "summary.json", summary)
    audit = json.loads((run / "audit" / "audit.json").read_text(encoding="utf-8"))
    audit["images"].append({**audit["images"][COPY], "file": evil, "nearest_image": evil, "score_name": evil})
    audit["not_tested"] = [evil]
    write_json(run / "audit" / "audit.json", audit)
    (run / "config.yaml").write_text(f"{evil}\n</pre></style><script>", encoding="utf-8")

    html, page = rendered(run)
    assert page.text.count(evil) >= 12
    assert "<script" not in html
    assert page.count("script") == 0
    assert not any("onload" in attributes for _, attributes in page.tags)


def test_a_name_with_bytes_that_are_no_text_does_not_stop_the_page(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    edit(run / "summary.json", {"label": "scan-\udcff\ud800"})
    assert "scan-" in rendered(run)[1].text


def test_an_unknown_place_gives_a_range_and_never_a_single_figure(tmp_path: Path) -> None:
    _, page = rendered(example_run(tmp_path, place=False, gpu=False, count=1))
    cost = page.text[page.text.index("What it cost") : page.text.index("As much CO₂e")]
    assert "Place unknown, so a range over the world (20–900 g/kWh)" in page.text
    figures = re.findall(r"\S+ (?:µg|mg|g)\b(?!/kWh)", cost)
    assert len(figures) >= 14
    assert all("–" in words for words in figures)


def test_an_estimate_is_hatched_and_said_and_a_counter_is_solid(tmp_path: Path) -> None:
    html, page = rendered(example_run(tmp_path))
    bars = [attributes for tag, attributes in page.tags if tag == "rect" and "bar " in (attributes.get("class") or "")]
    fills = {
        attributes["class"]: attributes.get("fill") for attributes in bars if attributes["class"] != "bar estimated"
    }
    estimated = {attributes.get("fill") for attributes in bars if attributes["class"] == "bar estimated"}
    assert fills["bar counter"] is None
    assert estimated >= {"url(#energy-estimated)", "url(#grams-estimated)"}
    assert '<span class="source estimated"><bdi>cpu</bdi> <b>estimated</b>' in html
    assert "Partly measured, partly estimated." in page.text


def test_an_absent_reading_is_called_not_measured_and_never_zero(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    nothing = energy_record(None, None, None)
    phases = [{"phase": "diffusion", "duration_s": 9.0, **nothing, "components": [
        {"component": "cpu", "source": "absent", **nothing}]}]  # fmt: skip
    edit(run / "summary.json", {"energy": {"phases": phases, "total": nothing, "meters": []}, "carbon": None})
    _, page = rendered(run)
    assert "No phase has an energy figure: not measured." in page.text
    assert "No meter gave a reading." in page.text
    assert not re.search(r"\b0(\.0+)? (J|kJ|Wh|g|mg)\b", page.text)


def test_a_component_without_a_reading_is_named_beside_the_total(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    edit(run / "summary.json", {"energy": {**example_summary()["energy"], "absent": ["gpu2"]}})
    assert "No reading from gpu2: that share is missing." in rendered(run)[1].text


def test_an_empty_folder_gives_a_page_that_names_what_is_missing(tmp_path: Path) -> None:
    _, page = rendered(tmp_path)
    for words in (
        "This run is not finished, or its summary is lost: there is no summary.json.",
        "Not audited",
        "The run folder has no log of the training",
        "The energy of this run was not measured",
        "There is no config.yaml",
    ):
        assert words in page.text


@pytest.mark.parametrize("part", ["images", "model", "energy", "carbon", "sampling", "audit", "quality", "provenance"])
@pytest.mark.parametrize("value", [None, [], "text", 7, {"phases": "x", "total": [1], "shape": {}, "meters": 3}])
def test_no_part_of_a_summary_is_needed_for_a_page(tmp_path: Path, part: str, value: object) -> None:
    write_json(tmp_path / "summary.json", {**example_summary(), part: value})
    assert "lichen report" in rendered(tmp_path)[1].text


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    edit(run / "summary.json", {"state": "training"})
    assert "This run is not finished (state: training)." in rendered(run)[1].text


def test_a_verdict_of_clean_does_not_outweigh_a_flagged_image(tmp_path: Path) -> None:
    run = example_run(tmp_path)
    edit(run / "audit" / "audit.json", {"verdict": "clean"})
    _, page = rendered(run)
    assert "No copy found" not in page.text
    assert "1 copy of a training image" in page.text


def test_tables_have_captions_figures_have_titles_and_pictures_have_alternatives(tmp_path: Path) -> None:
    html, page = rendered(example_run(tmp_path))
    assert page.count("table") == page.count("caption") > 5
    charts = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 4
    ids = re.findall(r' id="([^"]+)"', html)
    for chart in charts:
        assert all(name in ids for name in (chart["aria-labelledby"] or "").split())
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert len(ids) == len(set(ids))
    assert page.tags[0] == ("html", {"lang": "en"})


def test_the_page_names_the_files_it_was_drawn_from_by_their_hashes(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    _, page = rendered(run)
    for name in ("summary.json", "config.yaml", "log.jsonl", "audit/audit.json"):
        assert sha256_of(run / name) in page.text


def test_volumes_are_shown_as_three_slices_side_by_side(tmp_path: Path) -> None:
    _, page = rendered(example_run(tmp_path, volumes=True, count=2))
    shown = pictures(page)
    assert [picture.shape for picture in shown] == [(64, 3 * 64 + 24)] * 2
    assert "middle axial, coronal and sagittal slice" in page.text


def test_a_page_of_a_full_gallery_stays_below_three_megabytes(tmp_path: Path) -> None:
    run = example_run(tmp_path, count=1)
    rng = np.random.default_rng(0)
    findings = []
    for index in range(60):
        name = write_sample(run / "samples", index)
        noise = rng.integers(0, 65536, (300, 300), dtype=np.uint16)  # noise is what PNG compresses worst
        Image.fromarray(noise).save(run / "samples" / name)
        findings.append({"file": name, "flagged": False, "score": 0.1})
    edit(run / "audit" / "audit.json", {"images": findings, "verdict": "clean"})
    path = write_report(run)
    assert path.stat().st_size < 3_000_000
    assert "12 more passed the audit" in path.read_text(encoding="utf-8")


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no folder"):
        write_report(tmp_path / "nowhere")
