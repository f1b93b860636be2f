"""The report in a real browser: it opens from disk, draws something, and complains about nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import SWITCHES, Tab, browser_tab, chromium_path
from lichen.carbon import (
    Footprint,
    Intensity,
    Outcome,
    Plan,
    Range,
    all_year,
    contract,
    everywhere,
    intensity,
    what_if,
)
from lichen.chain import run
from lichen.config import CarbonConfig
from lichen.presets import load_preset
from lichen.report import write_report
from lichen.report.formats import GRAMS, WATT_HOURS, Span, figure, span_parts
from lichen.runs import RunFolder
from lichen.samplers import SamplerName, network_calls
from lichen.settings import load_settings
from lichen.summary import with_carbon

MONTH = 7


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    config = replace(config, carbon=replace(config.carbon, grid="FR"))
    folder = RunFolder(tmp_path_factory.mktemp("browser"))
    run(config, folder, command="lichen run", quiet=True)
    return folder.report


def chromium(page: Path, profile: Path, *switches: str) -> subprocess.CompletedProcess[str]:
    command = [
        chromium_path(),
        *SWITCHES,
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        *switches,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)


def test_the_report_opens_from_disk_without_a_complaint(report: Path, tmp_path: Path) -> None:
    done = chromium(report, tmp_path, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "Inconclusive" in done.stdout
    assert done.stdout.count("<svg") >= 4


@pytest.mark.parametrize("width", [1200, 420])
def test_the_report_draws_its_samples_within_the_window(report: Path, tmp_path: Path, width: int) -> None:
    shot = tmp_path / "report.png"
    size = f"--window-size={width},{6_000_000 // width + 2500}"
    chromium(report, tmp_path / "profile", "--hide-scrollbars", size, f"--screenshot={shot}")
    with Picture.open(shot) as picture:
        assert picture.width >= width
        counted = picture.convert("RGB").getcolors(2**24) or []
    colours = np.array([colour for _, colour in counted], dtype=np.int16)
    is_gray = (np.ptp(colours, axis=1) < 4) & (colours.max(axis=1) > 40) & (colours.max(axis=1) < 200)
    assert is_gray.sum() > 50  # thumbnails have many grays; text on this page has few


# ---- the panel "What if?"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser_tab(tmp_path_factory.mktemp("tab") / "profile") as tab:
        yield tab


def changed(report: Path, folder: Path, carbon: CarbonConfig, **change: Any) -> tuple[Path, dict[str, Any]]:
    """The page and the summary of the same run with other settings of place, and other facts of its samples."""
    bare = json.loads(RunFolder(report.parent).summary.read_text(encoding="utf-8"))
    summary = with_carbon({**bare, "sampling": {**bare["sampling"], **change}}, carbon)
    RunFolder(folder).write_summary(summary)
    return write_report(folder), summary


def summary_beside(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RunFolder(report.parent).summary.read_text(encoding="utf-8"))
    return found


def footprint(summary: dict[str, Any]) -> Footprint:
    kept = summary["footprint"]
    energies = {name: Range(**kept[name]) for name in ("training_j", "denoise_j", "decode_j", "rest_j")}
    return Footprint(**energies, images=kept["images"], calls=kept["calls"], batch=kept["batch"])


def shows(tab: Tab, outcome: Outcome) -> None:
    """Assert that the panel shows these figures, to the last bit and in the words of the page."""
    assert outcome.per_image_g is not None
    joules = outcome.energy_kwh
    for name, expected, units in (
        ("grams", outcome.carbon_g, GRAMS),
        ("share", outcome.per_image_g, GRAMS),
        ("energy", joules, WATT_HOURS),
    ):
        exact = [None if end == "null" else float(end) for end in tab.run(value_of(name)).split(" ")]
        if name == "energy":
            exact = [None if end is None else end / 3.6e6 for end in exact]
        assert exact == [expected.low, expected.estimate, expected.high], name
        in_joules_or_grams = expected.times(3.6e6) if name == "energy" else expected
        words, ends = span_parts(Span(**asdict(in_joules_or_grams)), units)
        assert tab.text(f"whatif-{name}") == words
        assert tab.text(f"whatif-{name}-ends") == (f"range {ends}" if ends else "")


def value_of(name: str) -> str:
    return f"document.getElementById('whatif-{name}').value"


def calls(steps: int, sampler: SamplerName = "unipc") -> int:
    return network_calls(sampler, steps)


def ratio(outcome: Outcome, as_run: Outcome) -> str:
    assert outcome.carbon_g.estimate is not None
    assert as_run.carbon_g.estimate
    return figure(outcome.carbon_g.estimate / as_run.carbon_g.estimate)


AE_IN_JULY = "no monthly figures for United Arab Emirates: the yearly level, widened by other countries' seasons"
CASES = {
    "another country": ({"place": "SE"}, intensity("SE"), None, Plan(), "Sweden (figures of 2024)"),
    "a US state": ({"place": "US-CA"}, intensity("US-CA"), None, Plan(), "California, USA (figures of 2024)"),
    "a month": ({"month": "7"}, intensity("FR", 7), None, Plan(), "France in July (level of 2024)"),
    "a month elsewhere": (
        {"place": "SE", "month": "12"}, intensity("SE", 12), None, Plan(), "Sweden in December (level of 2024)",
    ),
    "a country without monthly figures": ({"place": "AE"}, intensity("AE"), None, Plan(), "United Arab Emirates"),
    "a month without figures": ({"place": "AE", "month": "7"}, intensity("AE", 7), None, Plan(), AE_IN_JULY),
    "a PUE": ({"pue": "1.31"}, intensity("FR"), 1.31, Plan(), "PUE 1.31"),
    "many images": ({"images": "10000"}, intensity("FR"), None, Plan(images=10_000), "10,000 images"),
    "one image of a batch": ({"images": "1"}, intensity("FR"), None, Plan(images=1), "1 image of 4 steps"),
    "many steps": ({"steps": "250"}, intensity("FR"), None, Plan(calls=calls(250)), "250 steps"),
    "all at once": (
        {"place": "PL", "month": "1", "pue": "1.1", "images": "777", "steps": "33"},
        intensity("PL", 1), 1.1, Plan(images=777, calls=calls(33)), "Poland in January (level of 2024)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_panel_shows_what_the_library_calculates(report: Path, tab: Tab, case: str) -> None:
    entered, place, pue, plan, words = CASES[case]
    energies = footprint(summary_beside(report))
    tab.open(report)
    as_run = what_if(energies, intensity("FR"))
    shows(tab, as_run)
    assert tab.text("whatif-ratio") == "This is the run as it was."
    for name, value in entered.items():
        tab.enter(f"whatif-{name}", value)
    asked = what_if(energies, place, pue, plan)
    shows(tab, asked)
    said = tab.text("whatif-said")
    assert said.startswith(f"{ratio(asked, as_run)} times this run")
    assert "France" in said
    assert place.zone_name in said
    assert said.count("2024") + said.count("2023") >= 1
    assert said.endswith("Data: Ember, Monthly and Yearly Electricity Data.")
    assert words in said + tab.text("whatif-note")
    assert tab.complaints == []
    assert {url.partition(",")[0] for url in tab.requests} <= {report.as_uri(), "data:image/png;base64"}


def test_the_panel_names_the_cheapest_country_and_the_cheapest_month(report: Path, tab: Tab) -> None:
    energies = footprint(summary_beside(report))
    tab.open(report)
    for name, value in {"place": "SE", "month": "3", "steps": "50", "pue": "1.2"}.items():
        tab.enter(f"whatif-{name}", value)
    plan = Plan(calls=calls(50))
    country = everywhere(energies, 3, 1.2, plan)[0]
    months = all_year(energies, "SE", 1.2, plan)
    low, high = (pick(months, key=lambda outcome: outcome.carbon_g.estimate or 0) for pick in (min, max))
    assert (low.month, high.month) == (8, 12)
    best, least, most = (span_parts(Span(**asdict(each.carbon_g)), GRAMS)[0] for each in (country, low, high))
    assert tab.text("whatif-cheapest").replace("\N{NO-BREAK SPACE}", " ") == (
        f"Least in all 209 countries: {country.zone_name} (figures of {country.year}), {best}. "
        f"Cheapest month in Sweden: August, {least}; dearest: December, {most}."
    )
    tab.enter("whatif-place", "AE")
    assert tab.text("whatif-cheapest").endswith("No monthly figures are known for United Arab Emirates.")


def test_an_unknown_place_has_ranges_and_no_ratio_but_to_itself(report: Path, tab: Tab, tmp_path: Path) -> None:
    page, summary = changed(report, tmp_path, CarbonConfig())
    energies = footprint(summary)
    tab.open(page)
    shows(tab, what_if(energies, intensity(None)))
    assert "Lesotho (2022) to Turkmenistan (2023)" in tab.text("whatif-note")
    assert tab.run("document.getElementById('whatif-month').disabled") is True

    tab.enter("whatif-steps", "250")
    more = what_if(energies, intensity(None), None, Plan(calls=calls(250)))
    shows(tab, more)
    before = what_if(energies, intensity(None)).energy_kwh.estimate
    assert more.energy_kwh.estimate is not None
    assert before is not None
    assert tab.text("whatif-said") == (
        f"{figure(more.energy_kwh.estimate / before)} times this run, at the same place: anywhere in the world. "
        "Data: Ember, Monthly and Yearly Electricity Data."
    )

    tab.enter("whatif-place", "SE")
    shows(tab, what_if(energies, intensity("SE"), None, Plan(calls=calls(250))))
    assert "its place is unknown" in tab.text("whatif-ratio")
    tab.enter("whatif-month", str(MONTH))
    shows(tab, what_if(energies, intensity("SE", MONTH), None, Plan(calls=calls(250))))
    tab.run("document.getElementById('whatif-reset').click()")
    shows(tab, what_if(energies, intensity(None)))
    assert tab.complaints == []


def test_a_contract_is_the_runs_own_and_other_places_are_of_the_table(report: Path, tab: Tab, tmp_path: Path) -> None:
    page, summary = changed(report, tmp_path, CarbonConfig(grid="FR", intensity=12.5, pue=1.15))
    energies = footprint(summary)
    tab.open(page)
    own: Intensity = contract(12.5, "FR")
    shows(tab, what_if(energies, own, 1.15))
    tab.enter("whatif-place", "FR")
    asked = what_if(energies, intensity("FR"), 1.15)
    shows(tab, asked)
    assert tab.text("whatif-said") == (
        f"{ratio(asked, what_if(energies, own, 1.15))} times this run: France (figures of 2024) against France, by "
        "contract. Data: Ember, Monthly and Yearly Electricity Data; against 12.5 g/kWh as given by the user, not from "
        "a table."
    )


def test_the_panel_begins_with_the_month_and_the_pue_of_the_run(report: Path, tab: Tab, tmp_path: Path) -> None:
    page, summary = changed(report, tmp_path, CarbonConfig(grid="US-CA", month=MONTH, pue=1.2))
    energies = footprint(summary)
    tab.open(page)
    as_run = what_if(energies, intensity("US-CA", MONTH), 1.2)
    shows(tab, as_run)
    assert tab.text("whatif-ratio") == "This is the run as it was."
    tab.enter("whatif-month", "")
    tab.enter("whatif-pue", "")
    asked = what_if(energies, intensity("US-CA"))
    shows(tab, asked)
    assert tab.text("whatif-said").startswith(
        f"{ratio(asked, as_run)} times this run: California, USA (figures of 2024) against California, USA in July"
    )


def test_a_sampler_that_calls_the_network_twice_is_counted_so(report: Path, tab: Tab, tmp_path: Path) -> None:
    page, summary = changed(report, tmp_path, CarbonConfig(grid="FR"), sampler="heun", network_calls=7)
    tab.open(page)
    tab.enter("whatif-steps", "30")
    shows(tab, what_if(footprint(summary), intensity("FR"), None, Plan(calls=59)))


@pytest.mark.parametrize(
    ("name", "value"), [("pue", "0.9"), ("images", "0"), ("images", "2.5"), ("steps", "1"), ("steps", "-3")]
)
def test_an_impossible_number_gives_no_figure(report: Path, tab: Tab, name: str, value: str) -> None:
    tab.open(report)
    tab.enter(f"whatif-{name}", value)
    assert [tab.text(f"whatif-{figure}") for figure in ("energy", "grams", "share")] == ["–"] * 3
    assert "A PUE is 1 or more" in tab.text("whatif-ratio")
    assert tab.run(f"document.getElementById('whatif-{name}').ariaInvalid") == "true"
    tab.enter(f"whatif-{name}", "")  # left out: as in this run
    shows(tab, what_if(footprint(summary_beside(report)), intensity("FR")))


def test_no_script_but_the_panels_own_runs(report: Path, tab: Tab, tmp_path: Path) -> None:
    evil = "</script><script>window.wasHere = 1</script><img src=x onerror='window.wasHere = 2'>"
    page, summary = changed(report, tmp_path, CarbonConfig(grid="FR", intensity=12))
    summary["label"] = evil
    summary["carbon"] |= {"zone_name": evil, "note": evil, "attribution": evil}
    RunFolder(tmp_path).write_summary(summary)
    write_report(tmp_path)
    tab.open(page)
    tab.enter("whatif-place", "SE")
    assert tab.run("window.wasHere === undefined")
    assert tab.complaints == []
    assert evil in tab.text("whatif-said")

    # had it come into the page as markup, the policy would have stopped it
    html = page.read_text(encoding="utf-8")
    for sneaked in (
        "<script>window.wasHere = 3</script>",
        "<p onclick='1'></p><img src=data:, onerror='window.wasHere = 4'>",
    ):
        page.write_text(html.replace("</main>", f"{sneaked}</main>"), encoding="utf-8")
        tab.open(page)
        assert tab.run("window.wasHere === undefined")
        assert any("Content Security Policy" in complaint for complaint in tab.complaints)
        assert tab.text("whatif-ratio") == "This is the run as it was."


def test_without_scripts_the_page_says_how_else_to_ask(report: Path, tmp_path: Path) -> None:
    with browser_tab(tmp_path / "profile") as tab:
        tab.send("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(report)
        words = tab.run("document.body.innerText")
        assert "lichen whatif" in words
        assert "Sampling steps" not in words
        assert tab.complaints == []


def test_paper_has_no_controls_and_only_what_was_asked(report: Path, tab: Tab) -> None:
    tab.open(report)
    tab.send("Emulation.setEmulatedMedia", media="print")
    assert "What if?" not in tab.run("document.body.innerText")
    tab.enter("whatif-place", "SE")
    words = tab.run("document.body.innerText")
    assert "Sweden (figures of 2024): 35.8 g/kWh" in words
    assert "Sampling steps" not in words
    tab.send("Emulation.setEmulatedMedia", media="")
