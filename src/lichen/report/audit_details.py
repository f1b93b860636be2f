"""The parts of an audit behind its verdict: scores, self-test, checks of the real images, comparisons with others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from lichen.plurals import plural
from lichen.report.evidence import Facts
from lichen.report.formats import NOT_RECORDED, figure, whole
from lichen.report.histogram import Series, histograms, mini_bar

MOST_PAIRS = 50
"""Rows of the table of near-duplicates; the rest are in the audit file."""

_PSEUDONYM = re.compile(r"(patient|image)-[0-9a-f]{12}")

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TestedRow:
    """One transformation of the self-test."""

    name: str
    words: str
    """What was done, where the name does not say it."""
    power: str
    power_bar: Markup
    false_positives: str
    false_bar: Markup


@dataclass(frozen=True)
class Details:
    """What the page says beside the verdict; what the audit did not do is empty."""

    histogram: Markup | None = None
    histogram_words: str = ""
    self_test: tuple[TestedRow, ...] = ()
    self_test_words: str = ""
    checks: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str, str, str, str], ...] = ()
    pairs_left_out: int = 0
    tables: tuple[tuple[str, Rows], ...] = ()
    """(caption, rows) of competition, membership, label maps and earlier papers' rules, as far as they were done."""


def audit_details(facts: Facts) -> Details:
    """The details in ``audit.json``."""
    chart, words = _histogram(facts)
    duplicates = facts.at("duplicates")
    pairs = [_pair(pair, "") for pair in duplicates.each("within_training")]
    pairs += [_pair(pair, " (held-out)") for pair in duplicates.each("with_held_out")]
    tables = (
        ("Competition: training images against as many withheld ones", _competition(facts)),
        ("Membership: does the model know its patients?", _membership(facts.at("membership"))),
        ("Label maps by themselves; they decide nothing here", _label_maps(facts.at("label_maps"))),
        ("What the rules of earlier papers would have said; they decide nothing here", _classics(facts)),
    )
    return Details(
        chart,
        words,
        tuple(_tested(facts.at("self_test", name), name) for name in facts.keys("self_test")),
        _self_test_words(facts),
        _checks(duplicates),
        tuple(pairs[:MOST_PAIRS]),
        max(len(pairs) - MOST_PAIRS, 0),
        tuple((caption, rows) for caption, rows in tables if rows),
    )


def rate_words(rate: Facts) -> str | None:
    """``12.3% (8.1% to 17.0%)``; ``at most 1.2%`` where none was found; None where nothing was estimated."""
    estimate, low, high = (rate.number(key) for key in ("estimate", "low", "high"))
    if high is None:
        return None
    if not estimate:
        return f"at most {high:.1%}"
    return f"{estimate:.1%}" + (f" ({low:.1%} to {high:.1%})" if low is not None else "")


def pseudonym(facts: Facts, key: str) -> str | None:
    """The pseudonym at ``key``; any other text may be a name, and is None."""
    text = facts.text(key)
    return text if text is not None and _PSEUDONYM.fullmatch(text) else None


def share_words(share: float | None) -> str:
    """A share in per cent: ``97%``, ``2.5%``."""
    if share is None:
        return "not tested"
    return f"{share:.0%}" if share in {0, 1} or share >= 0.1 else f"{share:.1%}"


def _histogram(facts: Facts) -> tuple[Markup | None, str]:
    names = facts.texts("settings", "scores")
    name = next((name for name in names if facts.numbers("calibration", "scores", name)), None)
    if name is None:
        return None, ""
    held_out = facts.numbers("calibration", "scores", name)
    scored = [(image.number("scores", name), image.flag("flagged") is True) for image in facts.each("images")]
    passed = tuple(score for score, flagged in scored if score is not None and not flagged)
    flagged = tuple(score for score, is_flagged in scored if score is not None and is_flagged)
    if not passed and not flagged:
        return None, ""
    above = [Series("synthetic images", "counter", passed)]
    if flagged:
        above.append(Series("flagged", "flagged", flagged))
    words = (
        f"Similarity to the nearest training image by the score {name}, larger is nearer: of the synthetic images "
        "upwards, of held-out patients downwards, as shares of each. In an innocent set the two sides are "
        "alike; copies stand out to the right."
    )
    chart = histograms(
        above,
        Series("held-out patients, whom the generator never saw", "reference", held_out),
        name="scores-chart",
        title="Scores of synthetic images and of held-out patients",
        description=words,
        axis=f"score ({name})",
    )
    return chart, words


def _tested(facts: Facts, name: str) -> TestedRow:
    power, accused = facts.number("power"), facts.number("false_positive_rate")
    found, new = facts.number("n"), facts.number("n_new")
    return TestedRow(
        name=name,
        words="" if facts.text("words") in {None, name} else facts.text("words") or "",
        power=share_words(power) + (f" of {whole(found)}" if power is not None and found is not None else ""),
        power_bar=mini_bar(power, "counter" if power is None or power >= 0.9 else "missed"),
        false_positives=share_words(accused) + (f" of {whole(new)}" if accused is not None and new else ""),
        false_bar=mini_bar(accused, "flagged"),
    )


def _self_test_words(facts: Facts) -> str:
    level = facts.number("calibration", "level")
    at = "" if level is None else f", each judged at p ≤ {level:.2g}"
    return f"Known copies were made of training images, and the same was done to images of new patients{at}"


def _checks(duplicates: Facts) -> tuple[str, ...]:
    if not duplicates:
        return ()
    repeated = duplicates.number("repeated_images") or 0
    found = (
        (repeated, "is identical to an earlier one", "are identical to an earlier one", "training image"),
        (
            len(duplicates.each("within_training")),
            "of two training patients looks like one image",
            "of two training patients look like one image",
            "pair",
        ),
        (
            len(duplicates.each("with_held_out")),
            "is nearly a training image, which makes copies look usual",
            "are nearly a training image, which makes copies look usual",
            "held-out image",
        ),
        (
            len(duplicates.each("left_out_patients")),
            "was a training patient too and was left out",
            "were training patients too and were left out",
            "held-out patient",
        ),
        (len(duplicates.each("many_images")), "has very many images", "have very many images", "training patient"),
    )
    lines = [f"{plural(n, noun)} {one if n == 1 else many}." for n, one, many, noun in found if n]
    return tuple(lines) or ("No duplicates, no shared patients, and no patient with very many images were found.",)


def _pair(pair: Facts, other: str) -> tuple[str, str, str, str, str]:
    cells = [pseudonym(pair, key) or NOT_RECORDED for key in ("image", "patient", "other_image", "other_patient")]
    correlation = pair.number("correlation")
    alike = NOT_RECORDED if correlation is None else figure(correlation)
    return cells[0], cells[1], cells[2] + other, cells[3], "identical" if pair.flag("identical") else alike


def _competition(facts: Facts) -> Rows:
    found = facts.at("competition")
    if not found:
        return ()
    threshold, least = found.number("threshold"), found.number("least_discoveries")
    return (
        ("Flagged", whole(found.number("flagged"))),
        ("Threshold on the difference", "none at this rate" if threshold is None else figure(threshold)),
        ("Fewest that can be flagged", whole(least)),
    )


def _membership(found: Facts) -> Rows:
    if not found:
        return ()
    area, low, high = (found.number(key) for key in ("auc", "auc_low", "auc_high"))
    rate, rate_low, rate_high = (found.number(key) for key in ("true_positive_rate", "tpr_low", "tpr_high"))
    at, members, others = (found.number(key) for key in ("at_false_positive_rate", "members", "held_out"))
    rows = []
    if area is not None and low is not None and high is not None:
        rows.append(("Area under the curve (0.5: not at all)", f"{area:.2f} ({low:.2f} to {high:.2f})"))
    if rate is not None and rate_low is not None and rate_high is not None and at is not None:
        words = f"{rate:.1%} ({rate_low:.1%} to {rate_high:.1%})"
        rows.append((f"Training patients recognised, at {at:.1%} false alarms", words))
    if members is not None and others is not None:
        rows.append(("Compared", f"{plural(members, 'training patient')} with {plural(others, 'held-out patient')}"))
    return tuple(rows)


def _label_maps(found: Facts) -> Rows:
    level, held_out = found.number("level"), found.number("identical_held_out")
    near = None if level is None else f"Nearer to a training patient's than {1 - level:.0%} of new patients' are"
    rows = (
        ("Compared (Dice's coefficient)", found.number("compared")),
        ("Equal to a training patient's in every voxel", found.number("identical")),
        (near, found.number("near")),
        ("Of new patients, equal to a training patient's", held_out),
    )
    return tuple((name, whole(count)) for name, count in rows if name is not None and count is not None)


def _classics(facts: Facts) -> Rows:
    rows = []
    for classic in facts.each("classics"):
        name, words = (classic.text(key) or NOT_RECORDED for key in ("name", "words"))
        rows.append((name[:1].upper() + name[1:], words))
    return tuple(rows)
