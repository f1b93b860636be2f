"""How a segmenter learned: its Dice on the patients that choose, over images seen and over energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lichen.plurals import plural
from lichen.report.charts import line_chart
from lichen.report.curves import Curve
from lichen.report.evidence import Facts
from lichen.report.formats import JOULES, Span, energy_span, quantity, span_words, unit_for

_ENDED = {"patience": "ended: no longer better", "length": "ended: as planned", "budget": "ended: budget spent"}
_AXIS = "Dice of the patients who choose"


@dataclass(frozen=True)
class _Look:
    images: float
    dice: float
    spent_j: float | None


def learning_curves(records: Sequence[object], found: Facts, phases: Sequence[Facts]) -> tuple[Curve, ...]:
    """The curves of the ``segmenter`` records of a log, with the best look and the end marked; none without a look.

    ``found`` is the part ``segmentation`` of a summary and ``phases`` those of its energy.
    """
    looks = [look for look in map(_look, map(Facts, records)) if look is not None]
    if not looks:
        return ()
    best = max(looks, key=lambda look: look.dice)  # the first of equal ones, as the training keeps it
    ended = _ENDED.get(found.text("ended_by") or "", "ended")
    seen = found.number("images_seen")
    words = (
        f"Best after {plural(best.images, 'image')} seen, repeats included: the weights that were kept. They were "
        "chosen by this Dice, so it flatters them."
    )
    if seen is not None:
        words += f" Training ended after {plural(seen, 'image')}."
    over_images = line_chart(
        [(look.images, look.dice) for look in looks],
        name="learning-images",
        title="Dice while training, over images seen",
        description=words,
        x_axis="training images seen",
        y_axis=_AXIS,
        best=(best.images, best.dice, f"best {best.dice:.3f}"),
        end=None if seen is None else (seen, ended),
        is_share=True,
    )
    return (Curve("Over images seen", over_images, words), _over_energy(looks, best, ended, _spent(phases)))


def _look(record: Facts) -> _Look | None:
    images, dice = record.number("images_seen"), record.number("validation_dice")
    return None if images is None or dice is None else _Look(images, dice, record.number("spent_j"))


def _spent(phases: Sequence[Facts]) -> Span:
    """The energy of the training, looks included."""
    spans = [energy_span(phase) for phase in phases if phase.text("phase") in {"segmenter", "validate"}]
    low, estimate, high = ([getattr(span, end) for span in spans] for end in ("low", "estimate", "high"))
    return Span(*(sum(ends) if ends and None not in ends else None for ends in (low, estimate, high)))


def _over_energy(looks: Sequence[_Look], best: _Look, ended: str, spent: Span) -> Curve:
    points = [(look.spent_j, look.dice) for look in looks if look.spent_j is not None]
    if best.spent_j is None or not points:
        return Curve("Over energy", None, "No meter gave a reading while it learned.")
    last_j = points[-1][0]
    whole = spent if spent.estimate is not None else Span(last_j, last_j, last_j)
    whole_j = max(last_j, whole.estimate or 0.0)
    unit = unit_for(whole_j, JOULES)
    share = 1 - best.spent_j / whole_j if whole_j else 0.0
    words = (
        f"{quantity(best.spent_j, JOULES)} to the best look, {span_words(whole, JOULES)} in all, looks included: "
        f"{share:.0%} of the energy went by after the best, which nobody knows while training."
    )
    chart = line_chart(
        [(joules / unit.size, dice) for joules, dice in points],
        name="learning-energy",
        title="Dice while training, over energy",
        description=words,
        x_axis=f"energy of the training ({unit.symbol})",
        y_axis=_AXIS,
        best=(best.spent_j / unit.size, best.dice, f"best {best.dice:.3f}"),
        end=(whole_j / unit.size, ended),
        is_share=True,
    )
    return Curve("Over energy", chart, words)
