"""What all runs together used."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest

from lichen.carbon import Range
from lichen.carbon.words import printable
from lichen.energy import Trace, find_meters, trace_name
from lichen.ledger import RunRow, as_csv, ledger, totals
from lichen.runs import RunFolder
from lichen.words import runs_table


def finished(folder: Path, joules: float, person: str = "", project: str = "") -> None:
    folder.mkdir(parents=True)
    labels = "".join(f"  {name}: {value}\n" for name, value in (("person", person), ("project", project)) if value)
    (folder / "config.yaml").write_text("carbon:\n  grid: FR\n" + (f"labels:\n{labels}" if labels else ""))
    total = {"low_j": joules / 2, "energy_j": joules, "high_j": joules * 2}
    summary = {"state": "finished", "label": "x", "energy": {"total": total}, "audit": {"verdict": "clean"}}
    (folder / "summary.json").write_text(json.dumps(summary))


def row(name: str, energy_kwh: Range | None, person: str | None = None) -> RunRow:
    return RunRow(name, "finished", None, person, None, None, energy_kwh, None, None)


def test_sums_are_of_what_was_measured_and_the_rest_is_counted_apart() -> None:
    rows = [row("a", Range(1, 2, 3), "Ada"), row("b", Range(10, 20, 30), "Bo"), row("c", None, "Ada"), row("d", None)]
    ada, bo, nobody, all_ = sorted(totals(rows, "person"), key=lambda part: part.name.replace("all", "z"))
    assert (ada.name, ada.runs, ada.unmeasured, ada.energy_kwh) == ("Ada", 2, 1, Range(1, 2, 3))
    assert (bo.name, bo.energy_kwh) == ("Bo", Range(10, 20, 30))
    assert (nobody.name, nobody.runs, nobody.energy_kwh) == ("no person named", 1, None)
    assert (all_.runs, all_.unmeasured, all_.energy_kwh) == (4, 2, Range(11, 22, 33))
    assert [part.name for part in totals(rows, "person")] == ["Bo", "Ada", "no person named", "all"]


def test_a_sum_has_an_estimate_only_if_all_its_parts_have() -> None:
    (total,) = totals([row("a", Range(1, 2, 3)), row("b", Range(1, None, 3))], "none")
    assert total.energy_kwh == Range(2, None, 6)


def test_finished_runs_are_read_from_their_summaries_with_the_grams_of_their_place(tmp_path: Path) -> None:
    finished(tmp_path / "a", 3.6e6, person="Ada", project="grant 7")
    (found,) = ledger(tmp_path)
    assert (found.state, found.person, found.project, found.verdict) == ("finished", "Ada", "grant 7", "clean")
    assert found.energy_kwh == Range(0.5, 1, 2)
    assert found.carbon_g is not None
    assert found.carbon_g.estimate is not None
    assert 10 < found.carbon_g.estimate < 100  # French electricity, g/kWh
    assert len(ledger(tmp_path, int((found.at or "")[:4]))) == 1
    assert ledger(tmp_path, 1999) == ()


def test_a_run_that_was_broken_off_counts_with_what_it_had_used(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    with Trace(run / trace_name(), find_meters()) as trace, trace.phase("diffusion"):
        sum(i * i for i in range(3_000_000))
    (found,) = ledger(tmp_path)
    assert found.state == "unfinished"
    assert found.energy_kwh is not None
    assert found.energy_kwh.high > 0
    with RunFolder(run).lock():
        assert ledger(tmp_path)[0].state == "running"


def test_a_damaged_folder_is_a_row_of_its_own(tmp_path: Path) -> None:
    finished(tmp_path / "good", 10)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/config.yaml").write_text("nonsense: [")
    assert [(Path(r.path).name, r.state) for r in ledger(tmp_path)] == [("bad", "damaged"), ("good", "finished")]


def test_two_thousand_runs_are_summed_up_in_seconds(tmp_path: Path) -> None:
    for number in range(2000):
        finished(tmp_path / f"{number:04}", 3600.0, person=f"P{number % 7}")
    start = time.process_time()
    rows = ledger(tmp_path)
    sums = totals(rows, "person")
    assert len(runs_table(rows, sums, tmp_path).splitlines()) == 2000 + 1 + 1 + 8
    assert time.process_time() - start < 20
    assert sums[-1].energy_kwh is not None
    assert sums[-1].energy_kwh.estimate == pytest.approx(2.0)


def test_no_cell_of_the_table_is_a_formula_or_moves_the_cursor(tmp_path: Path) -> None:
    rows = [row("=cmd|'/C calc'!A0", Range(1, 2, 3), "-Ada\n, Bo"), row("@x", None)]
    first, second = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert first["run"] == "'=cmd|'/C calc'!A0"
    assert first["person"] == "'-Ada\ufffd, Bo"
    assert (first["energy_kwh"], second["energy_kwh"], second["run"]) == ("2", "", "'@x")
    assert printable("a\x1b[31mb\nc") == "a\ufffd[31mb\ufffdc"
