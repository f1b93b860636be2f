"""The page about the quality of one synthetic set: drawn from ``quality.json`` alone, and made to be shared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from lichen.errors import AuditError
from lichen.files import sha256_of, write_text
from lichen.plurals import plural
from lichen.report.dice_words import difference_finding
from lichen.report.dots import Dot, dot_chart, dot_swatch
from lichen.report.evidence import Facts, read_document
from lichen.report.formats import NOT_RECORDED, rows_of, shape, whole
from lichen.report.quality_words import (
    FIGURES,
    LIKENESS,
    MORE_VARIED,
    finding_words,
    lacking_words,
    reading_words,
)
from lichen.report.run_words import Rows, counted
from lichen.report.task_section import TaskSection, task_section
from lichen.report.templates import render

_LEGEND = (
    ("band", "between real images, with interval"),
    ("near", "synthetic images, as between real ones"),
    ("worse", "worse"),
    ("better", f"better, as copies would be; a likeness: {MORE_VARIED}"),
)


@dataclass(frozen=True)
class Row:
    """A line of the table of all figures."""

    figure: str
    synthetic: str
    matched: str
    real: str
    finding: str
    tone: str


@dataclass(frozen=True)
class Panel:
    """The figures in the features of one extractor."""

    extractor: str
    about: str
    sizes: str
    """How many images were compared with how many."""
    chart: Markup | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class QualityPage:
    """What the template is given; every text in it is data and is escaped there."""

    subtitle: str
    summary: str
    cards: tuple[tuple[str, str, str], ...]
    panels: tuple[Panel, ...]
    task: TaskSection | None
    legend: tuple[tuple[Markup, str], ...]
    lacking: str
    """Which figures there are not, and why."""
    has_other_sizes: bool
    """Whether a figure of the whole set is another one than that at equal numbers."""
    meanings: tuple[tuple[str, str, str], ...]
    not_seen: tuple[str, ...]
    extractors: Rows
    hashes: Rows
    version: str


def write_quality_report(quality_json: Path) -> Path:
    """Draw ``quality.html`` beside ``quality_json``, and return its path.

    The page loads nothing from anywhere, has no script, and shows no image.

    Raises:
        AuditError: the file cannot be read.
    """
    document = read_document(quality_json)
    if document.problem is not None:
        raise AuditError(f"no page can be drawn: {document.problem}", fix="run lichen quality again")
    facts = document.facts
    figures = tuple(figure for figure in facts.each("figures") if figure.text("name") in FIGURES)
    about = {name: facts.text("extractors", name) or "" for name in facts.keys("extractors")}
    panels = _panels(figures, about)
    page = QualityPage(
        subtitle=_subtitle(facts.at("counts")),
        summary=_summary(figures, facts.text("real_from")) + _by_task(facts.at("task", "difference")),
        cards=_cards(facts, figures),
        panels=panels,
        task=task_section(facts.at("task")),
        legend=tuple((dot_swatch(kind), words) for kind, words in _LEGEND),
        lacking=lacking_words({figure.text("name") or "" for figure in figures}),
        has_other_sizes=any(row.synthetic != row.matched for panel in panels for row in panel.rows),
        meanings=_meanings(figures),
        not_seen=facts.texts("not_seen"),
        extractors=tuple(about.items()),
        hashes=(*rows_of(facts.at("inputs")), (quality_json.name, sha256_of(quality_json))),
        version=facts.text("lichen") or "",
    )
    path = quality_json.with_name("quality.html")
    write_text(path, render("quality.html", page=page))
    return path


def _subtitle(counts: Facts) -> str:
    made, real, patients = (
        counts.number(key) for key in ("synthetic_images", "reference_images", "reference_patients")
    )
    if made is None or real is None or patients is None:
        return "Synthetic images, compared with real ones"
    against = f"{plural(real, 'real image')} of {plural(patients, 'patient')}"
    return f"{plural(made, 'synthetic image')}, compared with {against}"


def _summary(figures: tuple[Facts, ...], real_from: str | None) -> str:
    """How many figures are as between real images."""
    found = [(figure.text("name"), figure.text("finding")) for figure in figures]
    known = [
        MORE_VARIED if (name, finding) == (LIKENESS, "better") else finding
        for name, finding in found
        if finding in {"as real", "worse", "better"}
    ]
    if not known:
        return "There are too few images to tell the synthetic ones from real ones by any figure."
    words = f"Of {plural(len(known), 'figure')}, {known.count('as real')} cannot be told from those between real images"
    for finding, more in (("worse", ""), ("better", ", as copies would be"), (MORE_VARIED, "")):
        if number := known.count(finding):
            words += f", {number} {'is' if number == 1 else 'are'} {finding}{more}"
    return f"{words}. Real against real: {real_from or 'not recorded'}, against the reference."


_BY_TASK = {
    "worse": " What learned from them draws worse than what learned from real images.",
    "better": " What learned from them draws better than what learned from real images.",
    "near": " What learned from them cannot be told from what learned from real images.",
}
"""By the finding of a task, where there is one."""


def _by_task(difference: Facts) -> str:
    return _BY_TASK.get(difference_finding(difference), "")


def _cards(facts: Facts, figures: tuple[Facts, ...]) -> tuple[tuple[str, str, str], ...]:
    """(what, figure, a word more)."""
    counts = facts.at("counts")
    channels, *grid = facts.numbers("grid") or (0,)
    train, compared = counts.number("train_images"), (figure.at("real") for figure in figures)
    used = [real.number("images") for real in compared if real.number("reference_images") is not None]
    most = max((number for number in used if number is not None), default=None)
    pool = "of half of the reference"
    if train is not None:
        pool = f"of {whole(train)} of {counted(counts.number('train_patients'), 'training patient')}"
    return (
        ("Synthetic", counted(counts.number("synthetic_images"), "image"), ""),
        (
            "Reference",
            counted(counts.number("reference_images"), "image"),
            f"of {counted(counts.number('reference_patients'), 'patient')}",
        ),
        ("Yardstick", counted(most, "image"), pool),
        ("Grid", shape(tuple(grid)), plural(channels, "channel") if channels else ""),
    )


def _panels(figures: tuple[Facts, ...], about: dict[str, str]) -> tuple[Panel, ...]:
    panels = []
    for number, (extractor, group) in enumerate(groupby(figures, key=lambda figure: figure.text("extractor"))):
        own, name = tuple(group), extractor or NOT_RECORDED
        dots = [dot for figure in own if (dot := _dot(figure)) is not None]
        words = "; ".join(f"{dot.label}: {dot.words}" for dot in dots)
        chart = dot_chart(dots, name=f"panel{number}", title=f"Figures in {name}", description=words) if dots else None
        panels.append(Panel(name, about.get(name, ""), _sizes(own), chart, tuple(_row(figure) for figure in own)))
    return tuple(panels)


def _sizes(figures: tuple[Facts, ...]) -> str:
    """How many images the first figure that has a yardstick compares with how many."""
    figure = next((figure for figure in figures if figure.at("matched") and figure.at("real")), Facts())
    made, real = figure.number("matched", "images"), figure.number("real", "images")
    if made is None or real is None:
        return ""
    words = f"{plural(made, 'synthetic image')} beside {plural(real, 'real one')}"
    against = figure.number("real", "reference_images")
    return f"{words}, against {plural(against, 'other real one')}." if against else f"{words}."


def _dot(figure: Facts) -> Dot | None:
    """Where sizes are equal the synthetic images can be held against the band; elsewhere there is no band."""
    drawn = next((figure.at(key) for key in ("matched", "synthetic") if figure.at(key)), Facts())
    value, low, high = (drawn.number(key) for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    real = tuple(number for key in ("low", "value", "high") if (number := figure.number("real", key)) is not None)
    known, finding = FIGURES[figure.text("name") or ""], figure.text("finding") or ""
    return Dot(
        label=known.title,
        note=known.note,
        words=reading_words(drawn),
        value=value,
        low=low,
        high=high,
        band=(real[0], real[1], real[2]) if len(real) == 3 and figure.at("matched") else None,
        kind=finding if finding in {"worse", "better"} else "near",
        is_share=known.is_share,
    )


def _row(figure: Facts) -> Row:
    name = figure.text("name") or ""
    return Row(
        FIGURES[name].title,
        reading_words(figure.at("synthetic")),
        reading_words(figure.at("matched")),
        reading_words(figure.at("real")),
        *finding_words(name, figure.text("finding") or ""),
    )


def _meanings(figures: tuple[Facts, ...]) -> tuple[tuple[str, str, str], ...]:
    """(figure, what it means, what it cannot see), each once, of those that were measured."""
    names = dict.fromkeys(figure.text("name") or "" for figure in figures)
    return tuple((FIGURES[name].title, FIGURES[name].meaning, FIGURES[name].blind_to) for name in names)
