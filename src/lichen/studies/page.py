"""The pages of a study: ``report.html``, ``study.md``, and each chart as an SVG file. No image is in them."""

from __future__ import annotations

from pathlib import Path

from lichen import __version__
from lichen.files import write_text
from lichen.report.markdown import markdown_cell, markdown_table
from lichen.report.templates import render
from lichen.studies.results import Results
from lichen.studies.view import View, view_of


def write_pages(results: Results, home: Path) -> None:
    """Write all of them into ``home``."""
    view = view_of(results)
    write_text(home / "report.html", render("study.html", page=view, version=__version__))
    for picture in view.pictures:
        write_text(home / "figures" / f"{picture.name}.svg", picture.file)
    write_text(home / "study.md", as_markdown(view))


def as_markdown(view: View) -> str:
    """The same in Markdown, with the charts beside it in ``figures/``."""
    lines = [f"# {view.title}", "", f"{view.subtitle}. {view.summary}".strip(), ""]
    for picture in view.pictures:
        lines += [f"![{markdown_cell(picture.title)}](figures/{picture.name}.svg)", ""]
    if view.judged:
        head = ("statement", "source", "measured here", "effect", "95 % interval", "verdict")
        rows = [(j.words, j.source, j.asks, j.effect, j.ends, f"**{j.verdict}**") for j in view.judged]
        lines += ["## Verdicts", "", *markdown_table(head, rows), ""]
    lines += ["## Outcomes", "", "Mean of the seeds with its 95 % interval; – where there is none.", ""]
    for arms in view.arms:
        lines += [f"### {arms.title}", "", *markdown_table(arms.head, arms.rows), ""]
    for title, items in (
        ("What the figures rest on", view.notes),
        ("Not tested", view.not_tested),
        ("Not finished", view.failed),
        ("Papers", view.papers),
    ):
        if items:
            lines += [f"## {title}", "", *(f"- {item}" for item in items), ""]
    return "\n".join([*lines, view.attribution, ""])
