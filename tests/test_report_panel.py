"""What the page holds for the panel "What if?" and says of the forecast; test_browser.py sees the panel at work."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lichen.carbon import intensity, load_table
from lichen.carbon.intensity import typical_season
from lichen.config import CarbonConfig
from lichen.report import write_report
from lichen.report.evidence import Facts
from lichen.report.whatif_panel import whatif_panel
from lichen.summary import with_carbon

SCRIPT = Path(__file__).parents[1] / "src" / "lichen" / "report" / "whatif.js"
EVIL = "</script><script>window.wasHere = 1</script><!-- <script> ' \" & \u2028 \ud800"


def phase(name: str, energy_j: float | None) -> dict[str, Any]:
    low_j, high_j = (None, None) if energy_j is None else (0.5 * energy_j, 2 * energy_j)
    energy = {"low_j": low_j, "energy_j": energy_j, "high_j": high_j}
    source = "absent" if energy_j is None else "estimated"
    components = [{"component": "cpu", "source": source, **energy}]
    return {"phase": name, "duration_s": 10.0, **energy, "components": components}


def summary_of(carbon: CarbonConfig, *, is_measured: bool = True, **sampling: Any) -> dict[str, Any]:
    spent = {"read": 9.0, "diffusion": 3e5, "denoise": 8e4, "decode": 2e4, "audit": 70.0}
    phases = [phase(name, joules if is_measured else None) for name, joules in spent.items()]
    total = {end: sum(p[end] for p in phases) if is_measured else None for end in ("low_j", "energy_j", "high_j")}
    bare = {
        "state": "finished",
        "label": "built-in phantoms (2d)",
        "energy": {"phases": phases, "total": total, "absent": [], "meters": []},
        "sampling": {"count": 30, "sampler": "unipc", "steps": 20, "network_calls": 20, "batch_size": 8} | sampling,
        "audit": {"tested": 30, "copies": 0},
    }
    return with_carbon(bare, carbon)


def page_of(folder: Path, summary: dict[str, Any]) -> str:
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")  # escapes even what is no letter
    return write_report(folder).read_text(encoding="utf-8")


def figures_in(html: str) -> dict[str, Any]:
    block = re.search(r'<script type="application/json" id="whatif-data">(.*?)</script>', html, re.DOTALL)
    assert block is not None
    figures: dict[str, Any] = json.loads(block[1])
    return figures


def test_the_embedded_figures_are_those_of_the_summary_and_of_the_packaged_table(tmp_path: Path) -> None:
    summary = summary_of(CarbonConfig(grid="FR", month=7, pue=1.2), sampler="heun", network_calls=39)
    figures, table = figures_in(page_of(tmp_path, summary)), load_table()
    run = figures["run"]
    for name in ("training_j", "denoise_j", "decode_j", "rest_j"):
        assert run[name] == [summary["footprint"][name][end] for end in ("low", "estimate", "high")]
    assert [run[name] for name in ("images", "calls", "batch", "steps")] == [30, 39, 8, 20]
    assert run["calls_at_no_step"] + run["calls_per_step"] * 50 == 99
    assert (run["zone"], run["label"], run["month"], run["year"], run["pue"]) == ("FR", "France", 7, 2024, 1.2)
    assert figures["pue_range"] == [1.0, 1.58]
    assert figures["typical_season"] == list(typical_season(table))

    zones = {**figures["countries"], **figures["states"]}
    assert zones.keys() == table.zones.keys()
    assert figures["countries"].keys() == {zone.code for zone in table.countries()}
    for code, zone in table.zones.items():
        name, year, level, season = zones[code]
        assert (name, year) == (zone.name, zone.year)
        assert level == [zone.level.low, zone.level.estimate, zone.level.high]
        assert (season is None) == (zone.seasonal_index is None)
        for index, (low, estimate, high) in zip(zone.seasonal_index or (), season or (), strict=True):
            assert (low, estimate, high) == (index.low, index.estimate, index.high)


def test_a_figure_that_is_not_of_the_packaged_table_stands_for_itself(tmp_path: Path) -> None:
    contract = figures_in(page_of(tmp_path, summary_of(CarbonConfig(grid="FR", intensity=12))))["run"]
    assert contract["zone"] is None
    assert contract["g_per_kwh"] == [12, 12, 12]
    assert contract["label"] == "France, by contract, 12.0 g/kWh"

    own = tmp_path / "own.csv"
    own.write_text("# Our engineers' figures\nzone,year,month,gco2e_per_kwh\nFR,2025,,33\n", encoding="utf-8")
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR", intensity_file=own)))
    run = figures_in(html)["run"]
    assert (run["zone"], run["label"], run["year"]) == (None, "France, 33.0 g/kWh", 2025)
    panel = html[html.index('id="whatif-panel"') :]
    assert load_table().attribution in panel
    assert "Our engineers&#39; figures" in panel


def test_an_unknown_place_has_the_range_of_the_world(tmp_path: Path) -> None:
    run = figures_in(page_of(tmp_path, summary_of(CarbonConfig())))["run"]
    world = intensity(None).g_per_kwh
    assert (run["zone"], run["label"]) == (None, "anywhere in the world")
    assert run["g_per_kwh"] == [world.low, None, world.high]


def test_the_policy_names_the_hash_of_the_one_script_and_of_nothing_else(tmp_path: Path) -> None:
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR")))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert scripts == [SCRIPT.read_text(encoding="utf-8")]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy[1]
    assert policy[1].count("script-src") == 1
    assert "unsafe-inline" not in policy[1].replace("style-src 'unsafe-inline'", "")
    assert "default-src 'none'" in policy[1]


def test_the_script_writes_text_only_and_cannot_end_its_own_element() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    assert "textContent" in script
    for trap in (
        "</script",
        "<!--",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert trap not in script


def test_no_text_of_a_run_can_end_the_block_of_figures(tmp_path: Path) -> None:
    summary = summary_of(CarbonConfig(grid="FR", intensity=12))
    summary["label"] = EVIL
    summary["carbon"] |= {"zone_name": EVIL, "note": EVIL, "attribution": EVIL}
    html = page_of(tmp_path, summary)
    assert figures_in(html)["run"]["note"] == EVIL
    assert html.count("<script") == html.count("</script") == 2
    assert "<!--" not in html


@pytest.mark.parametrize(
    "change",
    [
        {"footprint": None},
        {"carbon": None},
        {"footprint": {"training_j": 1}},
        {"footprint": "text"},
        {"carbon": {"g_per_kwh": {"low": 9, "estimate": 5, "high": 1}}},
        {"carbon": {"g_per_kwh": {"low": 1, "estimate": 5, "high": 9}, "pue": 0.5}},
    ],
)
def test_without_sound_figures_there_is_no_panel_and_no_script(tmp_path: Path, change: dict[str, Any]) -> None:
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR")) | change)
    assert "<script" not in html
    assert "script-src" not in html
    assert "What if?" not in html
    assert "What it cost" in html


def test_a_summary_of_before_the_panel_and_the_forecast_still_gives_a_page(tmp_path: Path) -> None:
    summary = summary_of(CarbonConfig(grid="FR"))
    del summary["footprint"]
    html = page_of(tmp_path, summary)
    assert "<script" not in html
    assert "script-src" not in html
    assert "Forecast" not in html
    assert "400 kJ" in html


def test_without_measured_energy_there_is_no_panel(tmp_path: Path) -> None:
    summary = summary_of(CarbonConfig(grid="FR"), is_measured=False)
    assert summary["footprint"] is None
    assert "What if?" not in page_of(tmp_path, summary)


@pytest.mark.parametrize("figure", [{"batch": 0}, {"images": -1}, {"images": 1.5}, {"calls": 0}, {"steps": None}])
def test_an_impossible_count_gives_no_panel(figure: dict[str, Any]) -> None:
    summary = summary_of(CarbonConfig(grid="FR"))
    assert whatif_panel(Facts(summary)) is not None
    summary["footprint"] |= figure
    assert whatif_panel(Facts(summary)) is None


def test_where_nothing_was_drawn_nobody_is_asked_for_images_and_steps(tmp_path: Path) -> None:
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR"), count=0))
    assert 'id="whatif-place"' in html
    assert 'id="whatif-images"' not in html
    assert 'id="whatif-steps"' not in html


def test_without_scripts_the_page_says_so_and_shows_no_empty_panel(tmp_path: Path) -> None:
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR")))
    assert re.search(r"<noscript>.*?lichen whatif.*?</noscript>", html, re.DOTALL)
    assert '<div class="whatif" id="whatif-panel" hidden>' in html


def forecast(came_s: float | None = 90.0, came_j: float | None = 900.0, energy_j: float | None = 1_000.0) -> Any:
    low_j, high_j = (None, None) if energy_j is None else (0.8 * energy_j, 1.2 * energy_j)
    expected = {
        "duration_s": {"low": 80.0, "estimate": 100.0, "high": 125.0},
        "energy": {"low_j": low_j, "energy_j": energy_j, "high_j": high_j},
    }
    row = {"came_s": came_s, "came_j": came_j, **expected}
    return {"at": "2026-01-01", "probe_s": 13.8, "phases": [{"phase": "diffusion <b>", **row}], "total": row}


def words_of_forecast(folder: Path, kept: Any) -> str:
    html = page_of(folder, summary_of(CarbonConfig(grid="FR")) | {"forecast": kept})
    start = html.index("Forecast, and what came")
    text = re.sub(r"<[^>]+>", " ", html[start : html.index("<noscript>", start)])
    return " ".join(text.split())


def test_the_forecast_stands_beside_what_came(tmp_path: Path) -> None:
    words = words_of_forecast(tmp_path, forecast())
    row = "1 min 40 s 1 min 20 s to 2 min 5 s 1 min 30 s 1.00 kJ 0.80–1.2 900 J"
    assert f"diffusion &lt;b&gt; {row}" in words
    assert f"Total {row}" in words
    assert "The probe took 14 s." in words


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        (forecast(), "took 1 min 30 s, within the 90 % interval of the forecast; they used 900 J, within"),
        (forecast(79, 1_201), "took 1 min 19 s, below the 90 % interval of the forecast; they used 1.20 kJ, above"),
        (forecast(126, 799), "took 2 min 6 s, above the 90 % interval of the forecast; they used 799 J, below"),
        (forecast(None, None), "took time that was not measured; they used energy that was not measured."),
        (forecast(energy_j=None), "they used 900 J, and the energy had no forecast."),
    ],
)
def test_one_sentence_says_whether_the_run_came_within_the_interval(tmp_path: Path, kept: Any, verdict: str) -> None:
    assert verdict in words_of_forecast(tmp_path, kept)


def test_an_absent_figure_of_a_forecast_is_not_measured_and_never_zero(tmp_path: Path) -> None:
    words = words_of_forecast(tmp_path, forecast(came_s=None, came_j=None, energy_j=None))
    assert words.count("not measured") == 8
    assert not re.search(r"\b0(\.0+)? (s|J|kJ)\b", words)


@pytest.mark.parametrize("part", [None, [], "text", {"phases": []}, {"phases": [7, {}], "total": 3, "probe_s": "x"}])
def test_no_part_of_a_forecast_is_needed_for_a_page(tmp_path: Path, part: Any) -> None:
    html = page_of(tmp_path, summary_of(CarbonConfig(grid="FR")) | {"forecast": part})
    assert "What it cost" in html
