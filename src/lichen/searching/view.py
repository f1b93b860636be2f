"""What a reader is shown of a search, the answer first: the same for its page, its Markdown and a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lichen.carbon.words import printable
from lichen.plurals import plural
from lichen.report.standalone import Picture
from lichen.searching.answering import answer, answers
from lichen.searching.gathered import Results
from lichen.searching.notes import PEPR, SELVAN, notes
from lichen.searching.pictures import pictures
from lichen.searching.tables import Table, tables
from lichen.searching.wording import (
    capitalised,
    grams_words,
    joules_words,
    percent,
    states_words,
    where_words,
)
from lichen.selection.facts import middle


@dataclass(frozen=True)
class Tile:
    """A figure of the search as a whole."""

    eyebrow: str
    big: str
    ends: str
    words: str


@dataclass(frozen=True)
class View:
    """All that a page shows."""

    title: str
    subtitle: str
    headline: str
    meaning: str
    tone: str
    tiles: tuple[Tile, ...]
    answers: tuple[str, ...]
    """One sentence each."""
    pictures: tuple[Picture, ...]
    where: str
    """Place, month, year and PUE of the grams."""
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    attribution: str


def view_of(results: Results) -> View:
    """What a reader is shown of ``results``."""
    headline, meaning, tone = answer(results)
    return View(
        title=results.search.title,
        subtitle=f"{_counts(results)}: {states_words(results) or 'nothing begun'}",
        headline=headline,
        meaning=meaning,
        tone=tone,
        tiles=tuple(_tiles(results)),
        answers=tuple(words for _, words in answers(results)),
        pictures=pictures(results),
        where=capitalised(where_words(results)),
        tables=tables(results),
        notes=notes(results),
        sources=(SELVAN, PEPR),
        attribution=results.place.attribution,
    )


def _counts(results: Results) -> str:
    return f"{plural(len(results.candidates), 'candidate')} of {plural(len(results.configurations), 'configuration')}"


def _tiles(results: Results) -> list[Tile]:
    big, ends = grams_words(results.grams(results.spent.energy_j))
    energy, span = joules_words(results.spent.energy_j)
    energy += f" ({span})" if span else ""
    tiles = [Tile("The search emitted", f"{big} CO₂e", ends, f"{energy}; {where_words(results)}")]
    saving = results.saving
    if saving.saved_j is None or saving.everything_j is None:
        return tiles
    forecast = f"{saving.forecast} of {plural(len(results.candidates) - saving.unknown, 'training')} by forecast"
    lacking = f"; {saving.unknown} without a forecast are left out" if saving.unknown else ""
    whole, whole_ends = grams_words(results.grams(saving.everything_j))
    beside = f"All would have emitted {whole}{f' ({whole_ends})' if whole_ends else ''}: {forecast}{lacking}."
    if middle(saving.saved_j) <= 0:
        return [*tiles, Tile("Saved against training all", "nothing", "", beside)]
    big, ends = grams_words(results.grams(saving.saved_j))
    share = saving.share
    part = "" if share is None else f"{percent(middle(share))} of all"
    return [*tiles, Tile("Saved against training all", f"{big} CO₂e", ", ".join(filter(None, (ends, part))), beside)]


def in_words(results: Results, home: Path) -> str:
    """What was found, for a terminal: what to take, why, what it cost, and where the rest is."""
    headline, meaning, _ = answer(results)
    rows = [
        ("search", results.search.title),
        ("", f"{_counts(results)}: {states_words(results) or 'nothing begun'}"),
        ("answer", headline),
        ("", meaning),
        *answers(results),
    ]
    for tile, label in zip(_tiles(results), ("emitted", "saved"), strict=False):
        rows.append((label, f"{tile.big}{f' ({tile.ends})' if tile.ends else ''}. {tile.words}".replace("₂", "2")))
    rows.append(("report", str(home / "report.html")))
    return "\n".join(f"{label:<9} {printable(words)}" for label, words in rows)
