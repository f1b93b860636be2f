"""What the other rooms write is what the report reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from lichen.audit import AuditResult, open_names, write_audit
from lichen.audit.resolution import resolution
from lichen.audit.result import Counts, Finding
from lichen.config import AuditConfig, CarbonConfig
from lichen.energy import ComponentEnergy, Energy, PhaseEnergy
from lichen.report import write_report
from lichen.runs import RunFolder
from lichen.summary import energy_summary, with_carbon


def finding(name: str, *, is_copy: bool, similarity: float | None = 0.9) -> Finding:
    return Finding(name, {"pearson": similarity}, 0.01, is_copy, False, "pearson", "p7/scan.png", "p7")


def audited(*findings: Finding) -> AuditResult:
    return AuditResult(
        "copies" if any(each.is_copy for each in findings) else "clean",
        AuditConfig(),
        Counts(len(findings), 0, 60, 30, 2, 120, 110),
        resolution(110, 1, 0.1, 0.1),
        findings,
        ("copies of a part of an image are not looked for",),
    )


def run_with_samples(path: Path, count: int) -> RunFolder:
    folder = RunFolder(path)
    folder.samples.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((8, 8), 9_000 * index, np.uint16)).save(folder.samples / f"sample-{index:06}.png")
        sidecar = json.dumps({"synthetic": True, "checkpoint_sha256": "aa"})
        (folder.samples / f"sample-{index:06}.json").write_text(sidecar, encoding="utf-8")
    return folder


def test_an_audit_as_it_is_written_withholds_its_copies_and_shows_the_rest(tmp_path: Path) -> None:
    folder = run_with_samples(tmp_path, 3)
    result = audited(
        finding("sample-000000.png", is_copy=False),
        finding("sample-000001.png", is_copy=True),
        finding("sample-000002.png", is_copy=False, similarity=None),
    )
    write_audit(result, folder.audit, inputs_sha256={"generator": "aa"})
    html = write_report(folder.path).read_text(encoding="utf-8")
    assert html.count("<img") == 1
    assert 'alt="Synthetic image sample-000000.png' in html
    assert "<s><bdi>sample-000001.png</bdi></s>" in html
    assert "p7" not in html
    assert open_names(folder.audit.parent).image("p7/scan.png", "p7") in html
    assert "copies of a part of an image are not looked for" in html
    assert "the audit has not compared it" in html


def test_a_clean_audit_as_it_is_written_gives_the_share_of_copies_it_could_have_missed(tmp_path: Path) -> None:
    folder = run_with_samples(tmp_path, 1)
    write_audit(audited(finding("sample-000000.png", is_copy=False)), folder.audit, inputs_sha256={})
    html = write_report(folder.path).read_text(encoding="utf-8")
    assert "No copy found" in html
    assert "Copies that make up less than 9.0% of the set may go unnoticed." in html


def test_energy_and_carbon_as_they_are_summarised_are_drawn_with_their_sources(tmp_path: Path) -> None:
    total = Energy(low_j=2e6, energy_j=4e6, high_j=8e6)
    phases = (PhaseEnergy("diffusion", 90.0, (ComponentEnergy("cpu", "estimated", total),), total),)
    bare = {"energy": energy_summary(phases, ()), "audit": {"tested": 10, "copies": 1}}
    folder = RunFolder(tmp_path)

    folder.write_summary(with_carbon(bare, CarbonConfig(grid="FR")))
    html = write_report(folder.path).read_text(encoding="utf-8")
    assert "4.00 MJ (2.0–8.0)" in html
    assert "cpu estimated" in html
    assert "France, figures of 2024: " in html
    assert "km by car in use, EU (175 g/km, Green Algorithms 2021)" in html

    folder.write_summary(with_carbon(bare, CarbonConfig(grid=None)))
    html = write_report(folder.path).read_text(encoding="utf-8")
    assert "Place unknown, so a range over the world" in html
    assert "range no single figure is known" in html.replace("<b>", "").replace("</b>", "")
