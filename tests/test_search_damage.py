"""A search lives through damage: of its journal, its candidates' files, its traces, and of candidates that fail."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lichen.config import SegmentationConfig
from lichen.energy import Trace, find_meters, trace_name
from lichen.errors import RunError
from lichen.processes import ended
from lichen.runs import RunFolder
from lichen.searching.definition import Search
from lichen.searching.forecasts import Forecasts
from lichen.searching.journal import Journal
from lichen.searching.points import applied, grid, places_of
from lichen.searching.reading import read_search
from lichen.searching.rulings import Rulings
from lichen.searching.spending import spent_on
from lichen.searching.tasks import NOTHING
from lichen.searching.terms import Terms
from lichen.searching.trials import Trial
from lichen.searching.whole import run_search
from lichen.selection.types import Limits
from lichen.settings import dump_settings
from quick_candidate import summary
from quick_search import FRANCE, WIDTHS, Quick, select, written


@pytest.fixture
def widths(tmp_path: Path) -> Search:
    return read_search(written(tmp_path / "widths.yaml", WIDTHS))


def quiet(_: str) -> None:
    """Hears what would be said."""


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "garbage at the end": lambda text: text + b"what {\n",
    "garbage in the middle": lambda text: text.replace(b"\n", b"\nwhat {\n", 1),
    "no text": lambda text: text + bytes(range(256)) + b"\n",
    "of a newer form": lambda text: text + b'{"op_code": 99, "worker_id": "a"}\n',
    "of another form": lambda text: b'{"version": 7}\n' + text,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_journal_of_optuna_is_named_with_a_way_out(
    tmp_path: Path, widths: Search, damage: Callable[[bytes], bytes]
) -> None:
    pytest.importorskip("optuna")
    terms = Terms(method="optuna", trials=2, carbon=FRANCE)
    Journal(widths, terms, tmp_path).propose()
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(damage(journal.read_bytes()))
    with pytest.raises(RunError, match=r"optuna\.journal is damaged, or was written by another version of Optuna"):
        Journal(widths, terms, tmp_path).propose()
    journal.rename(tmp_path / "moved")
    assert Journal(widths, terms, tmp_path).propose()


def test_a_record_that_a_kill_cut_short_does_not_spoil_the_next(tmp_path: Path, widths: Search) -> None:
    pytest.importorskip("optuna")
    terms = Terms(method="optuna", trials=2, carbon=FRANCE)
    Journal(widths, terms, tmp_path).propose()
    journal = tmp_path / "optuna.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[-40:-1])
    again = Journal(widths, terms, tmp_path)
    assert again.propose()
    assert len(again.points()) == len(Journal(widths, terms, tmp_path).points()) > 0


@pytest.mark.parametrize(
    "damaged", ["{}", "what {", '{"state": "finished", "segmentation": {"dice": {"estimate": 1e308}}}']
)
def test_a_candidate_whose_summary_is_damaged_is_done_again_and_the_others_are_left_alone(
    tmp_path: Path, widths: Search, damaged: str
) -> None:
    home, terms = tmp_path / "search", Terms(carbon=FRANCE)
    before = select(widths, home, terms)
    summaries = sorted(home.glob("runs/*/summary.json"))
    others = {path: path.read_bytes() for path in summaries[1:]}
    summaries[0].write_text(damaged)
    after = select(widths, home, terms)
    quality = {one.name: one.found and one.found.quality for one in before.candidates}
    assert {one.name: one.found and one.found.quality for one in after.candidates} == quality
    assert others == {path: path.read_bytes() for path in summaries[1:]}


def test_a_ruling_that_somebody_damaged_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    limits = '{"candidate_j": 1' + "0" * 400 + "}"
    path.write_text(f'{{"candidate": "a", "kind": "refuse", "reason": "r", "limits": {limits}}}\n')
    assert Rulings(path).standing(Limits(candidate_j=1.0)) == {}


def test_a_forecast_that_cannot_be_one_is_made_anew(tmp_path: Path, widths: Search) -> None:
    forecasts, config = Forecasts(tmp_path / "forecasts", Quick(per_width_j=1.0), 0), SegmentationConfig()
    expected = forecasts.of(config, 1, quiet)
    (path,) = (tmp_path / "forecasts").glob("*.json")
    whole = json.loads(path.read_text())
    negative = json.dumps({**whole, "training_j": {"low": -5, "estimate": None, "high": math.inf}})
    for damaged in ("", "[" * 100_000, "null", negative):
        path.write_text(damaged)
        assert Forecasts(tmp_path / "forecasts", Quick(per_width_j=1.0), 0).of(config, 1, quiet) == expected
        assert json.loads(path.read_text()) == whole


def test_a_trace_that_says_nothing_does_not_hide_what_the_others_say(tmp_path: Path) -> None:
    with Trace(tmp_path / trace_name(1), find_meters()) as trace, trace.phase("probe"):
        time.sleep(0.02)
    before = spent_on(tmp_path)
    (tmp_path / "energy-other-2.jsonl").write_text('what {\n{"a": 1}\n')
    assert spent_on(tmp_path) == replace(before, unread=1)
    assert before.energy_j.high > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"estimate": 0.', '"estimate": NaN, "was": 0.'),
        ('"estimate": 0.', '"estimate": "<b>", "was": 0.'),
        ('"planned_images_seen": 20', '"planned_images_seen": 0'),
        ('"parameters": 4000', '"parameters": "many"'),
    ],
)
def test_a_summary_with_an_impossible_figure_is_damaged(tmp_path: Path, widths: Search, old: str, new: str) -> None:
    place = places_of(widths, grid(widths))[0]
    config = applied(widths, place.point, SegmentationConfig(carbon=FRANCE))
    trial = Trial(place, config, Quick(), 0, Terms(carbon=FRANCE), tmp_path)
    trial.folder.path.mkdir(parents=True)
    trial.folder.write_config(dump_settings(config))
    trial.folder.write_summary(summary(config, "finished", 0.7, {"phases": []}))
    for look in ('{"validation_dice": 0.5, "spent_j": 1.0}', '{"validation_dice": "x", "spent_j": 2.0}'):
        with trial.folder.log.open("a") as log:
            log.write(look.replace("{", '{"phase": "segmenter", "images_seen": 1, ', 1) + "\n")
    trial.folder.log.write_text(
        trial.folder.log.read_text().replace('1, "validation_dice": "x"', '2, "validation_dice": "x"')
    )
    assert [point.quality for point in trial.find().curve] == [0.5]
    text = trial.folder.summary.read_text()
    assert old in text
    trial.folder.summary.write_text(text.replace(old, new))
    with pytest.raises(RunError, match=r"summary\.json is damaged"):
        Quick().find(config, trial.folder, 0)
    assert trial.find() == NOTHING


@dataclass(frozen=True)
class Failing(Quick):
    """Candidates that say something and end badly."""

    said: str = ""

    def command(self, settings: Path, out: Path) -> list[str]:
        del settings, out
        return [sys.executable, "-c", f"print({self.said!r}, end=''); raise SystemExit(3)"]


def test_a_failure_is_told_in_the_words_of_the_process_that_failed(tmp_path: Path, widths: Search) -> None:
    for said, told in (("no disk", "no disk (code 3)"), ("", "it said nothing (code 3)")):
        _, failed = run_search(
            widths, None, tmp_path / "search", Terms(carbon=FRANCE), task=Failing(said=said), quiet=True
        )
        assert set(failed.values()) == {told}


def test_a_failure_names_no_folder_above_the_data(tmp_path: Path, widths: Search) -> None:
    data = tmp_path / "Miller, J." / "scans"
    data.mkdir(parents=True)
    _, failed = run_search(
        widths, data, tmp_path / "search", Terms(carbon=FRANCE), task=Failing(said=f"{data} is not there"), quiet=True
    )
    assert set(failed.values()) == {"scans is not there (code 3)"}
    pages = [path.read_text() for path in (tmp_path / "search").glob("*.*") if path.suffix in {".html", ".md", ".csv"}]
    assert not any("Miller" in page for page in pages)


def test_how_a_process_ended_is_said() -> None:
    assert (ended(2), ended(-9)) == ("code 2", "killed by signal 9")


def test_who_waits_for_another_process_to_time_steps_says_so(tmp_path: Path) -> None:
    folder, said = RunFolder(tmp_path / "forecasts"), list[str]()
    with ExitStack() as other:
        other.enter_context(folder.lock())

        def tell(words: str) -> None:
            said.append(words)
            other.close()

        Forecasts(folder.path, Quick(per_width_j=1.0), 0).of(SegmentationConfig(), 1, tell)
    assert said == ["waiting, while another process times steps", "timing some real steps"]
