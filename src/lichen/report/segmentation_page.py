"""The page about a segmentation: how well it draws, how it learned, what it cost, and on whom it was tested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lichen.plurals import plural
from lichen.report.cost import CostSection, cost_section
from lichen.report.curves import Curve
from lichen.report.dice_words import ENDS, dice_words
from lichen.report.dots import Dot, dot_chart
from lichen.report.evidence import Facts, read_text
from lichen.report.forecast import ForecastSection, forecast_section
from lichen.report.formats import NOT_RECORDED, figure, shape, whole
from lichen.report.learning import learning_curves
from lichen.report.run_words import Rows, compact, counted, finished_words, hashes, of_patients, provenance_rows
from lichen.runs import read_log

_PARTS = {"train": "Learned from", "validation": "Weights chosen by", "test": "Tested on"}
_APART = "No patient is in two of them."
_UNKNOWN = "Nothing says which images are of one patient, so one may be in two of them, and the Dice would flatter."
_MOST_CLASSES = 12
"""More than these are hard to take in at a glance."""


@dataclass(frozen=True)
class DiceSection:
    """How well it draws the label maps of patients that it has not seen."""

    big: str
    ends: str
    words: str
    chart: Markup | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SegmentationPage:
    """What the template is given; every text in it is data and is escaped there."""

    title: str
    subtitle: str
    notices: tuple[str, ...]
    dice: DiceSection
    apart: str
    """Whether a patient may be in two parts."""
    cards: tuple[tuple[str, str, str], ...]
    was_run: tuple[tuple[str, Rows], ...]
    curves: tuple[Curve, ...]
    cost: CostSection
    forecast: ForecastSection | None
    provenance: Rows
    hashes: Rows
    config: str | None


def segmentation_page(run_dir: Path, facts: Facts) -> SegmentationPage:
    """The page of the segmentation in ``run_dir``, whose summary is ``facts``; what is lacking is named as lacking."""
    found, cost = facts.at("segmentation"), cost_section(facts.at("energy"), facts.at("carbon"))
    looks = read_log(run_dir / "log.jsonl").get("segmenter", ())
    return SegmentationPage(
        title=facts.text("label") or run_dir.resolve().name,
        subtitle=f"A network that draws label maps of medical images{finished_words(facts)}",
        notices=_notices(facts),
        dice=_dice(found),
        apart=_UNKNOWN if facts.flag("images", "patients_known") is False else _APART,
        cards=_cards(facts, cost),
        was_run=_was_run(facts),
        curves=learning_curves(looks, found, facts.each("energy", "phases")),
        cost=cost,
        forecast=forecast_section(facts.at("forecast")),
        provenance=provenance_rows(facts),
        hashes=hashes(run_dir),
        config=read_text(run_dir / "config.yaml"),
    )


def _notices(facts: Facts) -> tuple[str, ...]:
    notice = (
        "A budget ended this training before it was done: the figures are those of what it had learned by then. The "
        "same command with a larger budget goes on."
    )
    return (notice,) if facts.text("state") == "cut" else ()


def _dice(found: Facts) -> DiceSection:
    mean, classes = found.at("dice"), found.each("classes")
    estimate, low, high, patients = (mean.number(key) for key in ("estimate", "low", "high", "n"))
    rows = [("Mean over classes", mean), *((_named(one), one.at("dice")) for one in classes[:_MOST_CLASSES])]
    dots = [dot for name, dice in rows if (dot := _dot(name, dice)) is not None]
    notes = [f"{name}: {dice_words(dice)}." for name, dice in rows if dice and dice.number("estimate") is None]
    if len(classes) > _MOST_CLASSES:
        notes.append(f"{plural(len(classes) - _MOST_CLASSES, 'more class')} in summary.json.")
    words = "; ".join(f"{dot.label}: {dot.words}" for dot in dots)
    tested = plural(patients or 0, "patient")
    return DiceSection(
        big="none" if estimate is None else f"{estimate:.3f}",
        ends="" if low is None or high is None else f"{low:.3f} to {high:.3f}",
        words=f"Mean over {plural(len(classes), 'class')} and {tested} whom the training never saw.",
        chart=dot_chart(dots, name="dice", title="Dice by class", description=words) if dots else None,
        notes=tuple(notes),
    )


def _named(one: Facts) -> str:
    return f"Class {whole(one.number('value'))}"


def _dot(name: str, dice: Facts) -> Dot | None:
    estimate, low, high, patients = (dice.number(key) for key in ("estimate", "low", "high", "n"))
    if estimate is None:
        return None
    span = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return Dot(
        label=name,
        note=plural(patients or 0, "patient"),
        words=f"{estimate:.3f}{span}",
        value=estimate,
        low=estimate if low is None else low,
        high=estimate if high is None else high,
        band=None,
        kind="near",
        is_share=True,
    )


def _cards(facts: Facts, cost: CostSection) -> tuple[tuple[str, str, str], ...]:
    """(what, figure, a word more)."""
    images, model, found = facts.at("images"), facts.at("model"), facts.at("segmentation")
    parameters, width, seen = model.number("parameters"), model.number("width"), found.number("images_seen")
    parts = (
        (name, counted(images.number(f"{part}_images"), "image"), of_patients(images, f"{part}_patients"))
        for part, name in _PARTS.items()
    )
    return (
        *parts,
        (
            "Model",
            NOT_RECORDED if parameters is None else f"{compact(parameters)} parameters",
            "U-Net" if width is None else f"U-Net of width {width:g}",
        ),
        ("Saw", counted(seen, "image"), "repeats included"),
        ("Time", cost.total.time, "all phases"),
    )


def _was_run(facts: Facts) -> tuple[tuple[str, Rows], ...]:
    """(caption, rows) of each table; a row of which nothing is known is left out, and so is a table without rows."""
    images, model, found = facts.at("images"), facts.at("model"), facts.at("segmentation")
    channels, *grid = images.numbers("shape") or (0,)
    flop, kept, planned = (found.number(key) for key in ("training_flop", "best_images_seen", "planned_images_seen"))
    skipped = images.each("skipped")
    tables = {
        "Images and patients by part": (
            ("Images", facts.text("label") or NOT_RECORDED),
            *(
                (
                    name,
                    " ".join(
                        (counted(images.number(f"{part}_images"), "image"), of_patients(images, f"{part}_patients"))
                    ),
                )
                for part, name in _PARTS.items()
            ),
            ("Left out", plural(len(skipped), "image") if skipped else NOT_RECORDED),
            ("About the patients", images.text("note") or NOT_RECORDED),
            ("Grid", f"{shape(tuple(grid))} voxels" if grid else NOT_RECORDED),
            ("Channels", f"{channels - 1:g}, and the label map" if channels else NOT_RECORDED),
            ("Spacing", f"{shape(images.numbers('spacing_mm'))} mm"),
            ("Classes", ", ".join(f"{value:g}" for value in images.numbers("classes")) or NOT_RECORDED),
        ),
        "Network and training": (
            ("Network", "U-Net" if model.text("kind") == "unet" else NOT_RECORDED),
            ("Channels of the first level", whole(model.number("width"))),
            ("Levels", whole(model.number("levels"))),
            ("Parameters", whole(model.number("parameters"))),
            ("Saw", f"{counted(found.number('images_seen'), 'image')}, repeats included"),
            ("At most", NOT_RECORDED if planned is None else plural(planned, "image")),
            ("Ended", ENDS.get(found.text("ended_by") or "", NOT_RECORDED)),
            ("Kept", NOT_RECORDED if kept is None else f"the weights after {plural(kept, 'image')}"),
            ("Dice of those who chose them", _three_digits(found.number("validation_dice"))),
            ("Operations of the training", NOT_RECORDED if flop is None else f"{figure(flop / 1e12)} TFLOP on paper"),
        ),
    }
    known = {
        caption: tuple((name, words) for name, words in rows if not words.startswith(NOT_RECORDED))
        for caption, rows in tables.items()
    }
    return tuple((caption, rows) for caption, rows in known.items() if rows)


def _three_digits(number: float | None) -> str:
    return NOT_RECORDED if number is None else f"{number:.3f}"
