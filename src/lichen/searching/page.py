"""The pages of a search: ``report.html``, ``search.md``, and each chart as an SVG file. No image is in them."""

from __future__ import annotations

from pathlib import Path

from lichen import __version__
from lichen.files import write_text
from lichen.report.markdown import markdown_cell, markdown_table
from lichen.report.templates import render
from lichen.searching.gathered import Results
from lichen.searching.tables import as_texts
from lichen.searching.view import View, view_of


def write_pages(results: Results, home: Path) -> None:
    """Write all of them into ``home``."""
    view = view_of(results)
    write_text(home / "report.html", render("search.html", page=view, version=__version__))
    for picture in view.pictures:
        write_text(home / "figures" / f"{picture.name}.svg", picture.file)
    write_text(home / "search.md", as_markdown(view))


def as_markdown(view: View) -> str:
    """The same in Markdown, with the charts beside it in ``figures/``."""
    lines = [f"# {markdown_cell(view.title)}", "", f"{view.subtitle}.", ""]
    lines += [f"**{markdown_cell(view.headline)}.** {markdown_cell(view.meaning)}", ""]
    lines += [f"- {markdown_cell(words)}" for words in view.answers]
    for tile in view.tiles:
        ends = f" ({tile.ends})" if tile.ends else ""
        lines.append(f"- {tile.eyebrow}: {tile.big}{ends}. {tile.words}")
    lines.append("")
    for picture in view.pictures:
        lines += [f"![{markdown_cell(picture.title)}](figures/{picture.name}.svg)", ""]
    for table in view.tables:
        lines += [f"## {table.title}", "", table.caption, "", *markdown_table(table.head, as_texts(table.rows)), ""]
    for title, items in (("What the figures rest on", view.notes), ("Sources", view.sources)):
        lines += [f"## {title}", "", *(f"- {item}" for item in items), ""]
    return "\n".join([*lines, view.attribution, ""])
