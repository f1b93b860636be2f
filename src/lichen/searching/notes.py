"""What the figures of a search rest on, in words, and whose ideas they are."""

from __future__ import annotations

from lichen.plurals import plural
from lichen.searching.gathered import Results
from lichen.searching.wording import where_words

SELVAN = (
    "Selvan, Carbon footprint driven deep learning model selection for medical imaging, MIDL 2021: the scalar "
    "objective, and candidates cut at a budget."
)
PEPR = (
    "Selvan, Pepin, Igel, Samuel and Dam, PePR: performance per resource unit as a metric to promote small-scale "
    "deep learning in medical image analysis, NLDL 2025 (arXiv 2403.12562)."
)
_SEEDS = (
    "Quality: mean of the seeds with Student's 95 % interval. It tells the spread between trainings on these patients, "
    "and nothing of other hospitals. Differences are paired by seed."
)
_ONE_SEED = (
    "Quality: one training of each configuration, with the interval of its test images. The spread between trainings "
    "is not known."
)
_SHOWN = "A difference is shown where its 95 % interval does not hold 0. The front goes by the figures as they are."
_NEXT = "The next 1 % is 1 % of the quality reached, on straight lines between the points of the front."
_ALL = (
    "Against training all: all that was measured of what is finished, forecast of the trainings of the rest, less what "
    "the search spent besides. Reading, drawing and testing images of those never trained is not in it."
)
_SHARE = (
    "Scalar objective: 1 - quality + beta × kg CO2e. PePR: P / (1 + R), P the quality, R the cost from 0, the cheapest "
    "here, to 1, the dearest: it depends on who is compared."
)
_DISTANCE = (
    "Scalar objective: distance + beta × kg CO2e. There is no PePR: it wants a performance from 0 to 1, and a distance "
    "is none."
)
_SOME_SEEDS = (
    "Where not all seeds were trained, the mean is of the others: if some were stopped because they did badly, it "
    "flatters."
)


def notes(results: Results) -> tuple[str, ...]:
    """A sentence or two on each kind of figure that is shown."""
    planned = results.search.planned_images
    cost = f"training and {plural(planned, 'image')} drawn" if planned else "training"
    several = any(len(each.candidates) > 1 for each in results.configurations)
    partly = any(0 < len(each.trained) < len(each.candidates) for each in results.configurations)
    costs = (
        f"Cost: {cost}. Grams: {where_words(results)}. Their range holds what the meter, the building and the place "
        "leave open. That is the same for all candidates, and moves them together."
    )
    unread = results.spent.unread
    missing = f"{plural(unread, 'energy trace')} cannot be read: the search emitted more than is said here."
    return (
        costs,
        *([missing] if unread else []),
        _SEEDS if several else _ONE_SEED,
        _SHOWN,
        _NEXT,
        _ALL,
        _SHARE if results.direction == "higher" else _DISTANCE,
        *([_SOME_SEEDS] if partly else []),
    )
