"""How training went: the loss of each phase against the images it had seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.plurals import plural
from lichen.report.charts import line_chart
from lichen.report.evidence import Facts
from lichen.report.formats import figure
from lichen.report.quality_words import estimate_words

_TITLES = {"autoencoder": "Autoencoder", "diffusion": "Diffusion"}
_GAME = {
    "generator_loss": ("Generator", "loss", "It is low where the discriminator takes synthetic images for real."),
    "discriminator_loss": ("Discriminator", "loss", "1.39 where it cannot tell real images from synthetic ones."),
    "r_t": ("Overfitting of the discriminator", "r_t", "Mean sign of its output on real images; 1: it knows them all."),
    "ada_p": ("Augmentation", "probability", "How often what the discriminator sees is changed, adapted to r_t."),
}
"""What is logged of two networks that play against each other: title, axis, and how to read it."""


@dataclass(frozen=True)
class Curve:
    """The loss of one phase: a chart, or in ``words`` why there is none."""

    title: str
    chart: Markup | None
    words: str


def curves_section(log: Mapping[str, Sequence[object]]) -> tuple[Curve, ...]:
    """The curves of a log by phase (``lichen.runs.read_log``); none where no phase logged a loss."""
    curves = tuple(
        _curve(phase, title, _points(log[phase], "loss")) for phase, title in _TITLES.items() if phase in log
    )
    curves += _game(log.get("gan", ()))
    curves += _probes(log)
    return curves if any(curve.chart for curve in curves) else ()


def _points(records: Sequence[object], name: str) -> list[tuple[float, float]]:
    pairs = ((record.number("images_seen"), record.number(name)) for record in map(Facts, records))
    return [(seen, value) for seen, value in pairs if seen is not None and value is not None]


def _curve(phase: str, title: str, points: list[tuple[float, float]]) -> Curve:
    if not points:
        return Curve(title, None, "No loss was logged.")
    return _line(f"loss-{phase}", title, "loss", "", points)


def _line(name: str, title: str, axis: str, meaning: str, points: list[tuple[float, float]]) -> Curve:
    (_, first), (seen, last) = points[0], points[-1]
    words = f"From {_loss(first)} to {_loss(last)} over {plural(seen, 'image')} seen, repeats included.{meaning}"
    chart = line_chart(
        points,
        name=name,
        title=f"Loss of the {title.lower()} training" if axis == "loss" else title,
        description=words,
        x_axis="training images seen",
        y_axis=axis,
    )
    return Curve(title, chart, words)


def _game(records: Sequence[object]) -> tuple[Curve, ...]:
    """The losses of both networks and the state of the augmentation, where a GAN was trained."""
    return tuple(
        _line(name, title, axis, f" {words}", points)
        for name, (title, axis, words) in _GAME.items()
        if (points := _points(records, name))
    )


def _probes(log: Mapping[str, Sequence[object]]) -> tuple[Curve, ...]:
    """The share of samples nearer to training images than new patients are, where training was probed."""
    points = _points(log.get("probe", ()), "share")
    if not points:
        return ()
    last = Facts(log["probe"][-1])
    words = (
        f"{last.number('above') or 0:.0f} of {plural(last.number('n') or 0, 'sample')} of the last probe lie above all "
        "but about 5 % of held-out patients; about 5 % of them would if they were like new patients. It is no verdict."
    )
    if kept := Facts(next(reversed(log.get("stop", ())), None)).number("kept_images_seen"):
        words += f" Training was ended here, with the weights after {plural(kept, 'image')}."
    chart = line_chart(
        points,
        name="probe",
        title="Samples near a training image while training",
        description=words,
        x_axis="training images seen",
        y_axis="share of samples",
    )
    return (Curve("Probes for copies", chart, words), *_probes_of_quality(log["probe"], last))


def _probes_of_quality(records: Sequence[object], last: Facts) -> tuple[Curve, ...]:
    """How far the samples of probes are from held-out images, where that was asked for."""
    points = _points(records, "distance")
    if not points:
        return ()
    (_, found), error, real = points[-1], last.number("distance_error"), last.number("distance_real_high")
    words = (
        f"Squared kernel distance of {plural(last.number('n') or 0, 'sample')} to held-out images in the features of a "
        f"fixed random network: {estimate_words(found, error)} at the last probe."
    )
    if real is not None:
        words += f" As many training images are at {_loss(real)} at most (95 %), which is as near as probes can tell."
    chart = line_chart(
        points,
        name="probe-quality",
        title="Distance of samples to held-out images while training",
        description=words,
        x_axis="training images seen",
        y_axis="squared kernel distance",
        level=None if real is None else (real, "real images"),
    )
    return (Curve("Probes of quality", chart, words),)


def _loss(value: float) -> str:
    return figure(value) if abs(value) >= 1e-4 or value == 0 else f"{value:.2e}"
