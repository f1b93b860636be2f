"""From a template of this folder and data to a page of HTML that loads nothing."""

from __future__ import annotations

from pathlib import Path


def render(template: str, **values: object) -> str:
    """The page that ``template`` makes of ``values``; every text in them is data and is escaped.

    ``style`` among them takes the place of ``report.css``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((here / "report.css").read_text(encoding="utf-8"))  # noqa: S704 (our own file, no data in it)
    html = environment.get_template(template).render(**{"style": style, **values})
    # file names may hold bytes that are no text; UTF-8 cannot carry them
    return html.encode("utf-8", errors="replace").decode("utf-8")
