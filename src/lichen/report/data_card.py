"""The data card of a released synthetic set as a page for people; it says what ``data-card.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lichen.carbon.words import MONTHS
from lichen.plurals import plural
from lichen.report.evidence import Facts
from lichen.report.formats import GRAMS, NOT_MEASURED, NOT_RECORDED, plain_span, rows_of, span_words, whole
from lichen.report.templates import render

Rows = tuple[tuple[str, ...], ...]

_NOT_KNOWN = "not known"


@dataclass(frozen=True)
class CardPage:
    """What the template is given; every text in it is data and is escaped there."""

    headline: str
    subtitle: str
    notices: tuple[str, ...]
    audit: Rows
    self_test: Rows
    not_tested: tuple[str, ...]
    cost: Rows
    attribution: str | None
    generator: Rows
    bindings: Rows
    verify: str
    cite: str


def data_card_page(card: Mapping[str, Any]) -> str:
    """The HTML of a data card (``lichen.release.data_card``)."""
    facts = Facts(dict(card))
    images, audit, carbon = facts.at("images"), facts.at("audit"), facts.at("carbon")
    return render(
        "data_card.html",
        page=CardPage(
            headline=f"{plural(images.number('released') or 0, 'synthetic image')}",
            subtitle=f"Released {facts.text('date')} by lichen {facts.text('lichen')}: {facts.text('what')}",
            notices=facts.texts("notices"),
            audit=_audit(images, audit, facts.at("second_look")),
            self_test=tuple(_tested(name, audit.at("self_test", name)) for name in audit.keys("self_test")),
            not_tested=facts.texts("not_tested"),
            cost=_cost(carbon),
            attribution=carbon.text("attribution"),
            generator=rows_of(facts.at("generator")) or (("Checkpoint SHA-256", NOT_RECORDED),),
            bindings=(
                ("audit.json SHA-256", audit.text("sha256") or NOT_RECORDED),
                *(
                    (f"SHA-256 of {name}", audit.text("inputs_sha256", name) or "")
                    for name in audit.keys("inputs_sha256")
                ),
                *rows_of(audit.at("settings")),
            ),
            verify=facts.text("verify") or "",
            cite=facts.text("cite") or "",
        ),
    )


def _audit(images: Facts, audit: Facts, second: Facts) -> Rows:
    rate, high = audit.at("copy_rate"), audit.number("copy_rate_released_high")
    estimate = rate.number("estimate")
    ends = f"{_share(rate.number('low'))} to {_share(rate.number('high'))}"
    return (
        ("Verdict", f"{audit.text('verdict')}, over {plural(images.number('audited') or 0, 'image')}"),
        ("Removed as copies", whole(images.number("removed_as_copies"))),
        ("Removed because no score could compare them", whole(images.number("removed_not_comparable"))),
        ("Share of copies before removing", f"{_share(estimate)} ({ends})" if rate else _NOT_KNOWN),
        (
            "Share of copies among the released images",
            _NOT_KNOWN if high is None else f"at most {_share(high)}; {_share(audit.number('max_copy_rate'))} allowed",
        ),
        ("Second look, by a score that removed nothing", _second(second)),
    )


def _second(second: Facts) -> str:
    if not second:
        return "none"
    least = second.number("detectable_share")
    seen = f"copies can be seen from a share of {least:.1%}" if least is not None and least <= 1 else "no share is seen"
    return f"{second.text('score')}: {second.text('verdict')}, {whole(second.number('flagged'))} flagged; {seen}"


def _tested(name: str, facts: Facts) -> tuple[str, ...]:
    shares = (_share(facts.number("power")), _share(facts.number("false_positive_rate")))
    return (name, *shares, whole(facts.number("n")))


def _share(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.1%}"


def _cost(carbon: Facts) -> Rows:
    if not carbon:
        return (("CO₂e per released image", NOT_MEASURED),)
    month, year = carbon.number("month"), carbon.number("year")
    when = (MONTHS[int(month) - 1] if month else "", f"{year:.0f}" if year else "")
    low, high = (*carbon.numbers("pue_range"), 1.0, 1.0)[:2]
    return (
        ("CO₂e per released image", span_words(plain_span(carbon.at("per_released_image_g")), GRAMS)),
        ("CO₂e of the whole run", span_words(plain_span(carbon.at("total_g")), GRAMS)),
        ("What is in it", carbon.text("boundary") or NOT_RECORDED),
        ("Place and time of the electricity", ", ".join(filter(None, (carbon.text("zone_name"), *when)))),
        ("Power usage effectiveness", f"{low:g}" if low == high else f"{low:g} to {high:g}"),
        ("Source of the energy readings", ", ".join(carbon.texts("sources")) or NOT_RECORDED),
        ("Not measured", ", ".join(carbon.texts("absent")) or "nothing that has a meter"),
    )
