"""``lichen whatif``: one finished run, seen from every country, month and number of samples; nothing is run again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lichen.carbon import (
    Equivalent,
    Footprint,
    Outcome,
    Plan,
    Range,
    Table,
    all_year,
    energy_range_text,
    energy_text,
    equivalents,
    everywhere,
    grams_range_text,
    grams_text,
    load_table,
    mass,
    overtakes_at,
    place_text,
    ratio_text,
    what_if,
)
from lichen.carbon.emissions import J_PER_KWH
from lichen.config import CarbonConfig, RunConfig, SegmentationConfig
from lichen.energy import read_sessions, read_traces
from lichen.errors import CarbonError, RunError
from lichen.files import write_text
from lichen.footprint import footprint_of
from lichen.place import place_of
from lichen.runs import RunFolder
from lichen.samplers import network_calls
from lichen.stored import stored_settings
from lichen.summary import energy_summary, is_segmentation

if TYPE_CHECKING:
    from lichen.report import Bar

STEPS = (10, 20, 50, 250, 1000)
SAMPLES = (100, 1_000, 10_000)
ENDS = 3
"""Countries shown from either end of the list."""
BAR = 24
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class WhatIf:
    """All that was asked, and what a reader may want to ask next."""

    as_run: Outcome
    asked: Outcome
    sources: tuple[str, ...]
    """How the energy of the run was known: counter, polled, estimated or absent."""
    is_changed: bool
    """Whether anything was asked that differs from the run."""
    places: tuple[Outcome, ...]
    """Every country, the cleanest first."""
    months: tuple[Outcome, ...]
    """January to December at the place; empty where its seasons are unknown."""
    steps: tuple[tuple[int, Outcome], ...]
    samples: tuple[tuple[int, Outcome], ...]
    overtakes_at: int | None
    """Images from which on synthesis takes more energy than training."""

    @property
    def equivalents(self) -> tuple[Equivalent, ...]:
        """What was asked for, as much as everyday things."""
        return equivalents(self.asked.carbon_g)

    def as_json(self) -> dict[str, Any]:
        """Everything for other programs."""
        return {
            **self.asked.as_json(),
            "sources": list(self.sources),
            "as_run": self.as_run.as_json(),
            "places": [place.as_json() for place in self.places],
            "months": [month.as_json() for month in self.months],
            "steps": [{"steps": count, **outcome.as_json()} for count, outcome in self.steps],
            "samples": [{"samples": count, **outcome.as_json()} for count, outcome in self.samples],
            "synthesis_overtakes_training_at": self.overtakes_at,
            "place_ratio": ratio_text(self.places[0], self.places[-1]),
            "month_ratio": ratio_text(*_ends(self.months)) if self.months else None,
            "equivalents": [asdict(equivalent) for equivalent in self.equivalents],
        }

    def table(self, *, all_places: bool = False) -> str:
        """The same in a table for people."""
        rows = [*self._head(), ("", "")]
        shown = self.places if all_places else both_ends(self.places, ENDS)
        rows += _section("where", [(f"{place.zone_name} ({place.year})", place) for place in shown])
        rows.append(("", ratio_text(self.places[0], self.places[-1])))
        if self.months:
            rows += [("", ""), *_section("when", [(month_name(month), month) for month in self.months])]
            rows.append(("", ratio_text(*_ends(self.months))))
        if self.steps:
            rows += [("", ""), *_section("steps", [(str(count), outcome) for count, outcome in self.steps])]
        if self.samples:
            rows += [("", ""), *_section("samples", [(f"{count:,}", outcome) for count, outcome in self.samples])]
        if self.overtakes_at is not None:
            rows.append(("", f"synthesis overtakes training at {self.overtakes_at:,} images"))
        rows += [("", ""), *(("as much as" if not n else "", e.text) for n, e in enumerate(self.equivalents[:2]))]
        budget = next((e for e in self.equivalents if "budget" in e.what), None)
        rows += [("", budget.text)] if budget else []
        assumed = dict.fromkeys(words for outcome in (self.asked, *self.months[:1]) for words in outcome.assumptions)
        rows += [("assumed" if not n else "", words) for n, words in enumerate(assumed)]
        origins = dict.fromkeys(outcome.attribution for outcome in (self.asked, self.places[0]))
        rows += [("" if n else "source", words) for n, words in enumerate(origins)]
        return "\n".join(f"{name:<10} {text}".rstrip() for name, text in rows)

    def write_chart(self, path: Path) -> None:
        """Draw countries and months as one SVG file."""
        from lichen.report import bars_file

        ends = both_ends(self.places, 2 * ENDS)
        groups = [("The same work elsewhere, CO2e", bars_of([(place.zone_name, place) for place in ends]))]
        if self.months:
            name = self.months[0].zone_name
            groups.append(
                (f"The same work in another month, {name}", bars_of([(month_name(m), m) for m in self.months]))
            )
        write_text(path, bars_file(groups, f"{ratio_text(self.places[0], self.places[-1])}. {self.asked.attribution}"))

    def _head(self) -> list[tuple[str, str]]:
        rows = [("as run", f"{_line(self.as_run)}; energy {', '.join(self.sources)}")]
        if self.is_changed:
            rows.append(("asked", _line(self.asked)))
        share = self.asked.per_image_g
        if share is not None:
            rows.append(
                ("per image", f"{grams_text(share)} CO2e: its synthesis and its share of the training, no audit")
            )
        return rows


def what_if_of_run(
    path: Path, carbon: CarbonConfig, samples: int | None, steps: int | None, shared_over: int | None
) -> WhatIf:
    """See the run in ``path`` as ``carbon`` says, with other samples and steps if given.

    Raises:
        LichenError: it is no run, nothing was measured in it, or what is asked is impossible.
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise RunError(f"{path} is no run folder", fix="give one that holds config.yaml; lichen runs lists them")
    config = stored_settings(folder)
    footprint, drawing = footprint_in(folder, config), config if isinstance(config, RunConfig) else None
    if drawing is None and (samples, steps, shared_over) != (None, None, None):
        raise CarbonError(
            f"{path} holds a segmentation, which draws no images", fix="leave --samples, --steps and --shared-over out"
        )
    has_steps = drawing is not None and drawing.objective is not None
    if steps is not None and not has_steps:
        raise CarbonError(f"the generator in {path} is a StyleGAN2, which draws without steps", fix="leave --steps out")

    def calls(count: int) -> int:
        assert drawing is not None
        return network_calls(drawing.sampling.sampler, _at_least_two(count))

    plan = Plan(images=samples, calls=None if steps is None else calls(steps), shared_over=shared_over)
    place, pue = place_of(carbon), carbon.pue
    table = load_table() if carbon.intensity_file is None else load_table(carbon.intensity_file)
    as_run = what_if(footprint, place_of(config.carbon), config.carbon.pue)
    asked = what_if(footprint, place, pue, plan)
    drew = footprint.images > 0
    return WhatIf(
        as_run=as_run,
        asked=asked,
        sources=_sources(folder),
        is_changed=carbon != config.carbon or plan != Plan(),
        places=everywhere(footprint, carbon.month, pue, plan, table=table),
        months=_months(footprint, carbon, plan, table),
        steps=tuple(
            (count, what_if(footprint, place, pue, replace(plan, calls=calls(count))))
            for count in (STEPS if drew and has_steps else ())
        ),
        samples=tuple(
            (count, what_if(footprint, place, pue, replace(plan, images=count))) for count in (SAMPLES if drew else ())
        ),
        overtakes_at=overtakes_at(footprint, plan),
    )


def footprint_in(folder: RunFolder, config: RunConfig | SegmentationConfig) -> Footprint:
    """Of a finished run as its summary counted it, or of one that has only trained so far.

    What was drawn after a run had finished is in neither the energy nor the number of images of its summary.
    """
    with _saying_what_is_damaged(folder):
        phases, images = _phases(folder)
        found = footprint_of(
            phases,
            images=images,
            network_calls=config.network_calls if isinstance(config, RunConfig) else 1,
            batch_size=config.sampling.batch_size if isinstance(config, RunConfig) else 1,
        )
    if found is None:
        raise CarbonError(
            f"nothing was measured in {folder.path}", fix="give a run folder with energy-*.jsonl; see lichen doctor"
        )
    return found


def _sources(folder: RunFolder) -> tuple[str, ...]:
    with _saying_what_is_damaged(folder):
        phases, _ = _phases(folder)
        return tuple(sorted({part["source"] for phase in phases for part in phase["components"]}))


@contextmanager
def _saying_what_is_damaged(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(
            f"{folder.summary} does not say what the run used ({error})", fix="write it anew with: lichen report RUN"
        ) from error


def _phases(folder: RunFolder) -> tuple[list[dict[str, Any]], int]:
    """The phases of a run with their energy, and the images that were drawn in them."""
    summary = folder.read_summary()
    if summary is None:
        phases = energy_summary(read_traces(folder.traces), read_sessions(folder.traces))["phases"]
        return phases, sum(1 for _ in folder.samples.glob("sample-*.json"))
    return summary["energy"]["phases"], 0 if is_segmentation(summary) else summary["sampling"]["count"]


def _months(footprint: Footprint, carbon: CarbonConfig, plan: Plan, table: Table) -> tuple[Outcome, ...]:
    if carbon.grid is None or carbon.intensity is not None:
        return ()
    return all_year(footprint, carbon.grid, carbon.pue, plan, table=table)


def _at_least_two(steps: int) -> int:
    if steps < 2:
        raise CarbonError(f"steps is {steps}; a sampler needs at least 2", fix="give --steps 2 or more")
    return steps


def both_ends(outcomes: tuple[Outcome, ...], count: int) -> tuple[Outcome, ...]:
    """The first and the last ``count``, each once."""
    return outcomes if len(outcomes) <= 2 * count else (*outcomes[:count], *outcomes[-count:])


def _ends(outcomes: Sequence[Outcome]) -> tuple[Outcome, Outcome]:
    by_grams = sorted(outcomes, key=lambda outcome: _size(outcome.carbon_g))
    return by_grams[0], by_grams[-1]


def _line(outcome: Outcome) -> str:
    low, middle, high = outcome.energy_kwh.times(J_PER_KWH).low, outcome.energy_kwh.estimate, outcome.energy_kwh.high
    middle_j, high_j = None if middle is None else middle * J_PER_KWH, high * J_PER_KWH
    energy = f"{energy_text(middle_j)} ({energy_range_text(low, middle_j, high_j)})"
    cost = outcome.carbon_g
    where = place_text(outcome.zone_name, outcome.month, outcome.year)
    if cost.estimate is None:
        return f"{energy}, {grams_range_text(cost)} CO2e {where}"
    return f"{energy}, {mass(cost.estimate)} CO2e ({grams_range_text(cost)}) {where}"


def _section(title: str, rows: Sequence[tuple[str, Outcome]]) -> list[tuple[str, str]]:
    """Rows of name, grams and a bar; the first has the title."""
    top = max(
        outcome.carbon_g.high if outcome.carbon_g.estimate is None else outcome.carbon_g.estimate for _, outcome in rows
    )
    wide = max(len(name) for name, _ in rows)
    lines = []
    for number, (name, outcome) in enumerate(rows):
        length = round(BAR * _size(outcome.carbon_g) / top) if top else 0
        lines.append(("" if number else title, f"{name:<{wide}}  {figures_of(outcome):>12}  {'█' * max(length, 1)}"))
    return lines


def bars_of(rows: Sequence[tuple[str, Outcome]]) -> list[Bar]:
    """Outcomes by name as the bars of a chart in grams."""
    from lichen.report import Bar, Part, Span

    return [
        Bar(
            name,
            str(outcome.year or ""),
            figures_of(outcome),
            Span(outcome.carbon_g.low, outcome.carbon_g.estimate, outcome.carbon_g.high),
            () if outcome.carbon_g.estimate is None else (Part(name, "estimated", outcome.carbon_g.estimate),),
        )
        for name, outcome in rows
    ]


def figures_of(outcome: Outcome) -> str:
    """Its grams, or their range where there is no estimate."""
    cost = outcome.carbon_g
    return grams_range_text(cost) if cost.estimate is None else mass(cost.estimate)


def _size(cost: Range) -> float:
    return cost.high if cost.estimate is None else cost.estimate


def month_name(outcome: Outcome) -> str:
    """Jan to Dec."""
    return MONTHS[(outcome.month or 1) - 1]
