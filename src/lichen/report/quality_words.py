"""The figures of quality in words: what each is called, what it means, and what it cannot see."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lichen.report.evidence import Facts
from lichen.report.formats import figure as in_digits


@dataclass(frozen=True)
class Known:
    """A figure as people are told of it."""

    title: str
    note: str
    """Which direction is which."""
    meaning: str
    blind_to: str
    is_share: bool = False
    """Whether it lies between 0 and 1."""


FIGURES = {
    "frechet": Known(
        "Fréchet distance",
        "lower is better",
        "How far apart mean and covariance of the features are; in those of Inception it is the FID.",
        "It falls as sets grow, so only equal numbers compare. It sees nothing beyond mean and covariance.",
    ),
    "frechet-extrapolated": Known(
        "Fréchet, extrapolated",
        "lower is better",
        "The same for sets without end, as far as one can tell; it may be below 0.",
        "With fewer images than features part of the excess remains.",
    ),
    "kernel": Known(
        "Kernel distance",
        "lower is better",
        "How far apart the distributions of the features are (squared MMD, KID): 0 on average for equal ones, whatever "
        "their numbers, and so at times below 0.",
        "A rare kind of image that is missing hardly moves it.",
    ),
    "precision": Known(
        "Precision",
        "higher is truer",
        "The share of synthetic images that lie among real ones: do they look real?",
        "One good image drawn over and over has the highest precision.",
        is_share=True,
    ),
    "recall": Known(
        "Recall",
        "higher is more complete",
        "The share of real images that lie among synthetic ones: is every kind there?",
        "A few synthetic outliers raise it, because they seem to surround much.",
        is_share=True,
    ),
    "density": Known(
        "Density",
        "1 is as real",
        "How many real neighbourhoods a synthetic image lies in; unlike precision it is not misled by real outliers.",
        "Images that keep to the middle of the real ones have more than 1, and little variety.",
    ),
    "coverage": Known(
        "Coverage",
        "higher is more complete",
        "The share of real images with a synthetic one in their neighbourhood; not misled by synthetic outliers.",
        "It rises with the number of synthetic images.",
        is_share=True,
    ),
    "ms-ssim": Known(
        "Likeness (MS-SSIM)",
        "lower is more varied",
        "How alike two images of the set are on average, at several scales; above real images it lacks variety.",
        "Noise lowers it too; it asks nothing about how real the images are.",
        is_share=True,
    ),
    "inception-score": Known(
        "Inception score",
        "higher is better",
        "Whether a network for everyday photographs sees clear classes in single images, and many over the set.",
        "Its classes are not those of medicine, and it asks nothing of real images: report it for comparison only.",
    ),
}
"""By their names in ``quality.json``."""

FINDINGS = {
    "as real": ("as real", "good"),
    "worse": ("worse", "bad"),
    "better": ("better", "unsure"),
    "unknown": ("not known", ""),
}
"""A finding of ``quality.json`` -> the word for it, and its tone on a page."""
LIKENESS = "ms-ssim"
MORE_VARIED = "more varied than real"
"""What a likeness below that of real images is: copies would be as alike as what they are copies of."""


def finding_words(name: str, finding: str) -> tuple[str, str]:
    """The word for the ``finding`` of the figure ``name``, and its tone on a page."""
    words, tone = FINDINGS.get(finding, FINDINGS["unknown"])
    return (MORE_VARIED if (name, finding) == (LIKENESS, "better") else words), tone


_NORMAL = 1.96
"""Standard errors on either side of a 95 % interval."""


def reading_words(reading: Facts) -> str:
    """``0.912 (0.85 to 0.96)``; ``none`` where there is no reading."""
    value, low, high = (reading.number(key) for key in ("value", "low", "high"))
    if value is None:
        return "none"
    return _short(value) + ("" if low is None or high is None else f" ({_short(low, 2)} to {_short(high, 2)})")


def estimate_words(value: float, standard_error: float | None) -> str:
    """``4.54 (2.3 to 6.8, 95 %)``; without an error the figure alone."""
    if standard_error is None:
        return _short(value)
    low, high = value - _NORMAL * standard_error, value + _NORMAL * standard_error
    return f"{_short(value)} ({_short(low, 2)} to {_short(high, 2)}, 95 %)"


def lacking_words(names: Collection[str]) -> str:
    """Why there is no precision among the figures ``names``; empty where it is there."""
    return "" if "precision" in names else "precision, recall, density and coverage take sets of more patients"


def _short(value: float, significant: int = 3) -> str:
    """A figure without an exponent where it is short that way; ``−`` would not be found by a search."""
    return in_digits(value, significant) if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.{significant - 1}e}"
