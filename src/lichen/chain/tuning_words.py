"""What a tuning found, as a short table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lichen.carbon import energy_text
from lichen.carbon.words import number
from lichen.chain.tuning import Cost, Tuning
from lichen.config import SamplingConfig
from lichen.report.formats import duration, whole
from lichen.sampling import Tuned


def as_json(found: Tuning) -> dict[str, Any]:
    """The tuning for other programs."""
    return {
        "tuned": asdict(found.tuned),
        "reference": {**asdict(found.reference), **_cost(found.reference_cost)},
        "trials": [
            {
                **asdict(trial.setting),
                "network_calls": trial.setting.calls,
                **_cost(trial.cost),
                "distance": trial.distance.value,
                "distance_high": trial.distance_high,
                "within": trial.is_within,
            }
            for trial in found.trials
        ],
        "batches": [{"batch_size": size, **_cost(cost)} for size, cost in found.batches],
        "compiling": found.compiling and {**asdict(found.compiling), "pays_from_calls": found.compiling.calls},
        "per_image": _cost(found.tuned_cost),
        "per_image_before": _cost(found.before_cost),
        "decode_per_image": _cost(found.decode_cost),
        "spent": _cost(found.spent),
        "sources": list(found.sources),
    }


def in_words(found: Tuning, planned: int, grams: str) -> str:
    """The tuning in lines for people; ``planned`` images were asked for, ``grams`` is what it all came to."""
    tuned = found.tuned
    rows = [("setting", "calls", "an image", "distance", "at most", "within")]
    rows.append((str(found.reference), str(found.reference.calls), _of(found.reference_cost), "reference", "", ""))
    rows += [
        (
            str(trial.setting),
            str(trial.setting.calls),
            _of(trial.cost),
            number(trial.distance.value, 2),
            number(trial.distance_high, 2),
            "yes" if trial.is_within else "no",
        )
        for trial in found.trials
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = {
        "within": _criterion(tuned),
        "tuned": _choice(found, planned),
        "energy": f"{', '.join(found.sources) or 'not measured'}; of the network calls alone",
        "compile": _compiling(found, planned),
        "cost": f"{_of(found.spent)}{f', {grams}' if grams else ''}, {duration(found.spent.s)}: saved "
        f"{_paid(found, found.reference_cost)} beside {found.reference}, "
        f"{_paid(found, found.before_cost)} beside {found.before}",
    }
    return "\n".join([*table, "", *(f"{name:<8} {text}" for name, text in notes.items())])


def _criterion(tuned: Tuned) -> str:
    """What counts as within, and the least that would not have."""
    loss = tuned.least_contrast_loss
    margin = (
        f"at most {number(tuned.margin, 2)} from the reference, as 95 % of pairs of sets of {tuned.images // 2} of its "
        "own images are from each other, which differ by their seeds alone"
    )
    if loss is None:
        return f"{margin}; that is lax: even half of the contrast could be lost, so give more --tune.images"
    return f"{margin}; a loss of {loss:.0%} of contrast would not have passed"


def _choice(found: Tuning, planned: int) -> str:
    tuned = found.tuned
    compiled = "compiled" if tuned.settings(SamplingConfig(count=planned)).compile else "not compiled"
    less = found.amount(found.reference_cost) / found.amount(found.tuned_cost)
    return (
        f"{tuned.sampler} {tuned.schedule} {tuned.steps} in batches of {tuned.batch_size}, {compiled}: "
        f"{_of(found.tuned_cost)} an image, {number(less)} times less than {found.reference}; decoding takes "
        f"{_of(found.decode_cost)} beside it"
    )


def _compiling(found: Tuning, planned: int) -> str:
    compiling, pays = found.compiling, found.tuned.compile_from
    if compiling is None:
        return f"not tried: {whole(planned)} images take {duration(planned * found.tuned_cost.s)} without"
    if pays is None:
        return "never pays: a compiled network call costs as much as one that is not"
    return f"pays from {whole(pays)} images on; {whole(planned)} are planned"


def _paid(found: Tuning, other: Cost) -> str:
    images = found.paid_back_after(other)
    return "never" if images is None else f"after {whole(images)} images"


def _of(cost: Cost) -> str:
    return duration(cost.s) if cost.energy.energy_j is None else energy_text(cost.energy.energy_j)


def _cost(cost: Cost) -> dict[str, Any]:
    return {"duration_s": cost.s, **asdict(cost.energy)}
