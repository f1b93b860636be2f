"""What synthetic images are good for: the Dice of what learned from them, beside what learned from real images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from markupsafe import Markup

from lichen.plurals import plural
from lichen.report.dice_words import dice_parts, dice_words, difference_finding, difference_words
from lichen.report.dots import Dot, dot_chart
from lichen.report.evidence import Facts
from lichen.report.formats import whole

_ALONE = "There were no real images to learn from, so nothing stands beside its Dice."
_FINDINGS = {
    "worse": "draws worse than",
    "better": "draws better than",
    "near": "cannot be told from",
}
_TONES = {"worse": "bad", "better": "unsure", "near": "good"}


@dataclass(frozen=True)
class TaskSection:
    """Everything that the page says of it."""

    verdict: str
    tone: str
    chart: Markup | None
    about: str
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Mean or class, and (Dice, interval) after learning from synthetic images and from real ones."""


def task_section(task: Facts) -> TaskSection | None:
    """The ``task`` of a ``quality.json``; None where no task was asked for, or by an earlier version."""
    made, real = task.at("synthetic"), task.at("real")
    if not made:
        return None
    finding = difference_finding(task.at("difference"))
    pairs = zip_longest(made.each("classes"), real.each("classes"), fillvalue=Facts())
    return TaskSection(
        verdict=_verdict(finding, task) if real else _ALONE,
        tone=_TONES.get(finding, ""),
        chart=_chart(made.at("dice"), real.at("dice"), finding),
        about=_about(task),
        rows=(
            _row("Mean over classes", made, real),
            *(_row(f"Class {whole(one.number('value'))}", one, other) for one, other in pairs),
        ),
    )


def _row(name: str, made: Facts, real: Facts) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(dice_parts(learned.at("dice")) for learned in (made, real))


def _verdict(finding: str, task: Facts) -> str:
    difference = difference_words(task.at("difference"))
    if finding not in _FINDINGS:
        told = f" is {difference}, but" if difference else ""
        return f"The difference to one that learned from real images{told} cannot be judged from so few patients."
    beside = f"{_FINDINGS[finding]} one that learned from as many real images"
    return f"It {beside}: Dice {difference}, paired by patient."


def _chart(made: Facts, real: Facts, finding: str) -> Markup | None:
    value, low, high = (made.number(key) for key in ("estimate", "low", "high"))
    if value is None:
        return None
    band = tuple(number for key in ("low", "estimate", "high") if (number := real.number(key)) is not None)
    dot = Dot(
        label="Dice",
        note="higher is better",
        words=f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})",
        value=value,
        low=value if low is None else low,
        high=value if high is None else high,
        band=(band[0], band[1], band[2]) if len(band) == 3 else None,
        kind=finding or "near",
        is_share=True,
    )
    words = f"Learned from synthetic images: {dice_words(made)}; from real images: {dice_words(real)}"
    return dot_chart([dot], name="task", title="Dice on real patients", description=words)


def _about(task: Facts) -> str:
    images, patients = task.number("train_images"), task.number("test_patients")
    if images is None or patients is None:
        return ""
    drawn, learned = "Dot: learned from synthetic images.", f"Learned from {plural(images, 'image')}."
    if task.at("real"):
        drawn += " Band: learned from as many real ones."
        learned = f"Each learned from {plural(images, 'image')}."
    tested = f"{plural(patients, 'real patient')}, from whom nothing was learned, tested; others chose the weights."
    return f"{drawn} {learned} {tested}"
