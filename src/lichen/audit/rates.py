"""How many of the synthetic images are copies, and how many of the training patients have one: with intervals.

An image is flagged here where its p-value is at most a level (``operating_point``). Some copies are not flagged (power
below 1) and some innocent images are, so the flagged share is corrected by both (Rogan and Gladen 1978):

    flagged share = rate * power + (1 - rate) * false-positive rate.

What is not known of these is drawn many times, each from its own evidence, and an interval holds the middle of the
rates that the draws give: power and false-positive rate as ``operating_point`` says, the flagged share from a Beta law
with Jeffreys' prior, as usual for a binomial share (Brown, Cai and DasGupta 2001). This is a bootstrap whose resamples
come from these laws and not from the lists of values: a list of few patients repeats the values at the threshold, and
has no tail beyond the largest.

What the intervals do not hold: the power is that of the copies that were planted, and a generator's own may be harder
to find. Where synthetic images of nobody are less near to the training images than held-out ones are, fewer of them
are flagged than the level says, and the rate is somewhat higher than stated; the smaller the level, the less so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lichen.audit.operating_point import OperatingPoint, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RULE_OF_THREE = 3.0
"""None among n: at most 3/n of all are, with 95 % confidence."""
LEAST_POWER = 0.5
"""Below it the patients whose copies were all missed cannot be told from those whose copies were found."""


@dataclass(frozen=True)
class Rate:
    """A share and its interval, 0 <= low <= estimate <= high <= 1."""

    estimate: float | None
    """None where nothing can be said; the interval is then [0, 1]."""
    low: float
    high: float


UNKNOWN = Rate(None, 0.0, 1.0)
"""Nothing can be said."""


def at_most(n: int, power: float) -> float:
    """The largest share of copies that agrees with none flagged among ``n``: min(1, 3 / (n * power)).

    The rule of three (Hanley and Lippman-Hand 1983), one-sided at 95 %, for copies found with probability ``power``.
    """
    return min(1.0, RULE_OF_THREE / (n * power)) if n * power > 0 else 1.0


def copy_rate(
    synthetic: Floats,
    null: Floats,
    planted: Floats,
    planted_patients: Sequence[str],
    *,
    level: float,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    of: Literal["set", "generator"] = "set",
) -> Rate:
    """The share of copies, corrected for power and false positives, with an interval.

    Rows are S scores, larger is nearer, -inf could not be compared: ``synthetic`` (S, m); ``null`` (S, n), each
    held-out patient's largest; ``planted`` (S, T), copies of training images of ``planted_patients`` (T,). ``level``:
    the largest p-value (Bonferroni over scores) that counts as flagged; the smallest possible one always does.

    ``of="set"``: among these m images. ``of="generator"``: among all that their generator would make, of which these
    are a random sample; the interval is wider by what such a sample varies. ``UNKNOWN`` without images, planted copies
    or held-out patients, and where copies are not flagged more often than others. None flagged: up to ``at_most``.
    """
    rng = np.random.default_rng(seed)
    test = measure(synthetic, null, planted, planted_patients, level, resamples, rng)
    if test is None:
        return UNKNOWN
    least_high = at_most(len(test.flagged), test.power)
    if not test.flagged.any():
        return Rate(0.0, 0.0, least_high)
    rates = test.draw_rates(rng)
    shares = _share_of_set(rates, test, rng) if of == "set" else rates
    return _interval(test.rate(), shares, test.useful, confidence, least_high)


def memorised_patients(
    synthetic: Floats,
    null: Floats,
    planted: Floats,
    planted_patients: Sequence[str],
    nearest: Sequence[str],
    training_patients: int,
    *,
    level: float,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Rate:
    """The share of ``training_patients`` with at least one copy among the m synthetic images, with an interval.

    Arguments as in ``copy_rate``, and ``nearest`` (m,), the training patient nearest to each synthetic image. The
    share grows with m, as every further image may be a copy of yet another patient: state it beside m.

    Model: each copy is flagged with the power, and then counts for its own patient; innocent images are flagged at the
    false-positive rate, and count for patients at random. A patient with y flagged images has the weight
    1 - (-(1 - power) / power)^y, whose mean is 1 for every patient with a copy, however many, and whose mean for the
    others, 1 - exp(-expected false positives each / power), is taken off. Where false positives crowd on few patients
    the share is somewhat higher than stated. ``UNKNOWN`` as in ``copy_rate``, and where the power is under
    ``LEAST_POWER``. None flagged: up to ``at_most`` of the training patients.
    """
    rng = np.random.default_rng(seed)
    test = measure(synthetic, null, planted, planted_patients, level, resamples, rng)
    if test is None or test.power < LEAST_POWER or not training_patients:
        return UNKNOWN
    least_high = at_most(training_patients, test.power)
    hit = [patient for patient, flagged in zip(nearest, test.flagged.tolist(), strict=True) if flagged]
    if not hit:
        return Rate(0.0, 0.0, least_high)
    per_patient = np.bincount(list(Counter(hit).values()))  # how many patients have 0, 1, 2, ... flagged images

    # The estimate and the draws in one go, the estimate first.
    powers = np.append(test.power, test.powers)
    false_rates = np.append(test.false_positive_rate, test.false_positive_rates)
    innocent = len(test.flagged) * (1 - np.append(test.rate(), test.draw_rates(rng)))
    shares, deviations = _memorised(
        per_patient, training_patients, np.maximum(powers, LEAST_POWER), innocent * false_rates / training_patients
    )
    # Patients are whole: as in _share_of_set, a number stands for the unit around it.
    shares[1:] += (
        deviations[1:] * rng.standard_normal(resamples) + rng.uniform(-0.5, 0.5, resamples) / training_patients
    )
    shares = np.clip(shares, 0, 1)
    useful = test.useful & (test.powers >= LEAST_POWER)
    return _interval(float(shares[0]), shares[1:], useful, confidence, least_high)


def _share_of_set(rates: Floats, test: OperatingPoint, rng: np.random.Generator) -> Floats:
    """The share of copies among the synthetic images themselves, (R,), where the generator's is ``rates`` (R,).

    By Bayes' rule each flagged image is a copy with the positive predictive value, each other with what was missed.
    """
    flagged, m = int(test.flagged.sum()), len(test.flagged)
    found, missed = rates * test.powers, rates * (1 - test.powers)
    accused, passed = (1 - rates) * test.false_positive_rates, (1 - rates) * (1 - test.false_positive_rates)
    copies = rng.binomial(flagged, found / (found + accused)) + rng.binomial(m - flagged, missed / (missed + passed))
    # Spread each whole number over the unit around it: ends on whole numbers would hold more than they say.
    return np.clip((copies + rng.uniform(-0.5, 0.5, len(rates))) / m, 0, 1)


def _memorised(
    per_patient: NDArray[np.int64], patients: int, power: Floats, false_each: Floats
) -> tuple[Floats, Floats]:
    """The share of memorised patients and its standard deviation, (R,) each, of ``power`` (R,), 1/2 at least.

    ``per_patient[y]`` of the ``patients`` have y flagged images, y > 0; ``false_each`` (R,): false positives expected
    for each patient. For y the sum of a binomial number of copies found and a Poisson number of false positives, the
    mean of t^y is (1 - power + power t)^copies exp(false_each (t - 1)). With r = (1 - power) / power it is 0 at t = -r
    for a patient with copies, so that the weight 1 - (-r)^y has mean 1, and variance as the mean at t = r^2.
    """
    y, count = np.arange(1, len(per_patient)), per_patient[1:]
    r = ((1 - power) / power)[:, None]
    falsely = 1 - np.exp(-false_each / power)  # the mean weight of a patient without a copy
    memorised = ((1 - (-r) ** y) @ count - patients * falsely) / (1 - falsely)
    without = np.clip(patients - memorised, 0, patients)
    variance = (r ** (2 * y) - (-r) ** y) @ count + without * falsely * (1 - falsely)
    deviation = np.sqrt(np.maximum(variance, 0)) / (1 - falsely)
    return memorised / patients, deviation / patients


def _interval(estimate: float, drawn: Floats, useful: NDArray[np.bool_], confidence: float, least_high: float) -> Rate:
    """The middle ``confidence`` of ``drawn`` (R,), up to ``least_high`` at least.

    A draw that is not ``useful`` allows every share, so it counts below the low end and above the high one.
    """
    tail = (1 - confidence) / 2
    low = float(np.quantile(np.where(useful, drawn, 0.0), tail))
    high = float(np.quantile(np.where(useful, drawn, 1.0), 1 - tail))
    return Rate(estimate, min(low, estimate), max(high, estimate, least_high))
