"""What the Latent Pollution Model (arXiv 2407.14892) says of place, season, steps and size, asked of one measured run.

    python benchmarks/latent_pollution.py RUN --data FOLDER

RUN is a finished run folder whose energy was measured; FOLDER holds Ember's ``derived_country_yearly.csv``, for the
ratio between places year by year. Nothing is run again but, for the axis of size, short probes (``lichen predict``).
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from report import write_results

from lichen.carbon import Outcome, Table, all_year, everywhere, load_table, number
from lichen.chain.predicting import predict
from lichen.config import CarbonConfig, RunConfig
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.whatif import WhatIf, footprint_in, what_if_of_run

YEARS = range(2020, 2025)
PLAN = {"iterations": 150_000, "images": 10_000}
"""What the paper trains and draws."""
SIZES: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...] = (
    (2, ((32, 32), (64, 64), (128, 128))),
    (3, ((16, 16, 16), (32, 32, 32), (48, 48, 48))),
)

Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    folder = RunFolder(options.run)
    stored = load_settings(folder.config, RunConfig())
    seen = what_if_of_run(options.run, CarbonConfig(grid="DE", pue=1.0), PLAN["images"], None, None)
    rows = [
        *places(folder, stored, options.data / "derived_country_yearly.csv"),
        *months(folder, stored),
        *steps(seen),
        *sizes(),
    ]
    summary = folder.require_summary()
    sources = sorted({part["source"] for phase in summary["energy"]["phases"] for part in phase["components"]})
    note = (
        f"The run: {summary['label']}, {number(seen.as_run.energy_kwh.estimate or 0.0)} kWh, {', '.join(sources)}. "
        "Ratios of place and season are those of the electricity alone, so they hold for any run. Claims of the "
        "paper that depend on its GPUs (kilometres by car) are not tested here."
    )
    write_results(__file__, ("claim of the paper", "asked of", "answer"), rows, note)


def places(folder: RunFolder, stored: RunConfig, yearly: Path) -> Iterator[Row]:
    for year in YEARS:
        table = of_year(yearly, year)
        outcomes = everywhere(footprint_in(folder, stored), pue=1.0, table=table)
        cleanest, dirtiest = outcomes[0], outcomes[-1]
        yield (
            "place changes emissions up to 94 times",
            f"{len(outcomes)} countries, Ember, {year}",
            f"{number(grams(dirtiest) / grams(cleanest))} times, {cleanest.zone_name} to {dirtiest.zone_name}",
        )


def of_year(yearly: Path, year: int) -> Table:
    """The table of one year, as a user would make it: a plain list in a file."""
    with yearly.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["year"]) == year and float(row["gco2e_per_kwh"]) > 0]
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as listed:
        listed.write("# Electricity carbon intensity: Ember, yearly, CC BY 4.0\nzone,year,month,gco2e_per_kwh\n")
        listed.writelines(f"{row['iso3']},{year},,{row['gco2e_per_kwh']}\n" for row in rows)
        listed.flush()
        return load_table(Path(listed.name))


def months(folder: RunFolder, stored: RunConfig) -> Iterator[Row]:
    swings: list[tuple[float, str]] = []
    for zone in load_table().countries():
        outcomes = all_year(footprint_in(folder, stored), zone.code, pue=1.0)
        if outcomes:
            least, most = min(map(grams, outcomes)), max(map(grams, outcomes))
            swings.append((1 - least / most, zone.name))
    swings.sort(reverse=True)
    asked = f"{len(swings)} countries, mean season of 2020 to 2024"
    claim = "time of year changes emissions up to 50 %"
    above = sum(swing > 0.5 for swing, _ in swings)
    yield claim, asked, f"median {statistics.median(swing for swing, _ in swings):.0%} less in the best month"
    yield (
        claim,
        asked,
        f"more than 50 % less in {above}; largest: " + ", ".join(f"{name} {swing:.0%}" for swing, name in swings[:3]),
    )
    for name in ("Germany", "France", "Poland", "United States"):
        found = next((swing for swing, zone in swings if zone.startswith(name)), None)
        if found is not None:
            yield claim, name, f"{found:.0%} less in the best month than in the worst"


def steps(seen: WhatIf) -> Iterator[Row]:
    outcomes = dict(seen.steps)
    for few, many in ((20, 1000), (50, 1000), (50, 250)):
        yield (
            "fewer sampling steps cost less",
            f"{PLAN['images']:,} images, {many} steps and {few}",
            f"{number(grams(outcomes[many]) / grams(outcomes[few]))} times, training included",
        )


def sizes() -> Iterator[Row]:
    """Forecasts of the paper's plan at several sizes, with the demo's networks, on this machine."""
    for dims, grids in SIZES:
        preset = load_preset("demo", dims)
        first: float | None = None
        for grid in grids:
            images = replace(preset.images, size=grid)
            training = replace(preset.training, threads=1)
            config = replace(preset, images=images, training=training)
            found = predict(config, PLAN["images"], PLAN["iterations"] * config.training.batch_size)
            kwh = (found.found.energy.energy_j or 0.0) / 3.6e6
            first = first or kwh
            synthesis = found.as_json()["synthesis"]["energy_kwh"]["estimate"] / kwh
            yield (
                "cost grows with image size and dimension",
                f"{' x '.join(map(str, grid))}, {PLAN['iterations']:,} iterations, {PLAN['images']:,} images, forecast",
                f"{number(kwh)} kWh ({number(kwh / first)} times the smallest), {synthesis:.0%} of it synthesis",
            )


def grams(outcome: Outcome) -> float:
    assert outcome.carbon_g.estimate is not None
    return outcome.carbon_g.estimate


if __name__ == "__main__":
    main()
