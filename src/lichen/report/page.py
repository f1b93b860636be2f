"""The page as a whole: gathers the sections of a run folder and renders the template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lichen.errors import RunError
from lichen.files import sha256_of, write_text
from lichen.report.cost import CostSection, cost_section
from lichen.report.curves import Curve, curves_section
from lichen.report.evidence import Document, Facts, read_document, read_text
from lichen.report.forecast import ForecastSection, forecast_section
from lichen.report.formats import NOT_RECORDED, figure, plural, rows_of, shape, whole
from lichen.report.gallery import Gallery, gallery
from lichen.report.templates import render
from lichen.report.verdict import AuditSection, audit_section
from lichen.report.whatif_panel import Panel, whatif_panel
from lichen.runs import read_log

Rows = tuple[tuple[str, str], ...]

_KINDS = {"diffusion": "diffusion", "stylegan2": "StyleGAN2 with adaptive discriminator augmentation"}
_SPACES = {"latent": "latents of the autoencoder", "pixel": "the voxels themselves, without an autoencoder"}
_BOUND_FILES = ("summary.json", "config.yaml", "log.jsonl", "audit/audit.json")


@dataclass(frozen=True)
class Page:
    """What the template is given; every text in it is data and is escaped there."""

    title: str
    subtitle: str
    notices: tuple[str, ...]
    is_phantom: bool
    cards: tuple[tuple[str, str, str], ...]
    was_run: tuple[tuple[str, Rows], ...]
    quality: Rows
    cost: CostSection
    forecast: ForecastSection | None
    panel: Panel | None
    curves: tuple[Curve, ...]
    audit: AuditSection
    gallery: Gallery
    provenance: Rows
    hashes: Rows
    config: str | None


def write_report(run_dir: Path) -> Path:
    """Draw ``run_dir/report.html`` from the files of a run folder, and return its path.

    The page loads nothing from anywhere; the one script in it is our own and calculates the what-if panel. Synthetic
    images are shown only if the audit looked at them and did not flag them, and images of the training set never. What
    the folder lacks, the page names as lacking.

    Raises:
        RunError: ``run_dir`` is no folder.
    """
    if not run_dir.is_dir():
        raise RunError(f"{run_dir} is no folder", fix="give the folder of a run, e.g. one that `lichen runs` lists")
    path = run_dir / "report.html"
    write_text(path, render("report.html", page=_gather(run_dir)))
    return path


def _gather(run_dir: Path) -> Page:
    summary = read_document(run_dir / "summary.json")
    facts, audit = summary.facts, audit_section(read_document(run_dir / "audit" / "audit.json"))
    cost = cost_section(facts.at("energy"), facts.at("carbon"))
    label = facts.text("label")
    return Page(
        title=label or run_dir.resolve().name,
        subtitle=_subtitle(facts),
        notices=_notices(summary),
        is_phantom=facts.flag("is_phantom") is True,
        cards=_cards(facts, cost),
        was_run=_was_run(facts),
        quality=_quality(facts.at("quality", "kernel_distance")),
        cost=cost,
        forecast=forecast_section(facts.at("forecast")),
        panel=whatif_panel(facts),
        curves=curves_section(read_log(run_dir / "log.jsonl")),
        audit=audit,
        gallery=gallery(run_dir / "samples", audit.findings, audit.generator_sha256),
        provenance=_provenance(facts),
        hashes=_hashes(run_dir),
        config=read_text(run_dir / "config.yaml"),
    )


def _subtitle(facts: Facts) -> str:
    is_phantom = facts.flag("is_phantom")
    images = "" if is_phantom is None else " of built-in phantoms: no patients" if is_phantom else " of medical images"
    finished = facts.text("finished_at")
    return f"A generative model{images}" + (f" · finished {_moment(finished)}" if finished else "")


def _moment(text: str) -> str:
    """``2026-01-01 00:00 UTC``; a text that is no moment stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment.tzinfo else text
    except (ValueError, OverflowError):
        return text


def _notices(summary: Document) -> tuple[str, ...]:
    if summary.problem is not None:
        notice = (
            f"This run is not finished, or its summary is lost: {summary.problem}. What was run and what it cost "
            "is therefore not known here. The same command again finishes the run."
        )
        return (notice,)
    state = summary.facts.text("state")
    return () if state == "finished" else (f"This run is not finished (state: {state or 'not recorded'}).",)


def _cards(facts: Facts, cost: CostSection) -> tuple[tuple[str, str, str], ...]:
    """(what, figure, a word more)."""
    images, sampling, model = facts.at("images"), facts.at("sampling"), facts.at("model")
    drawing = ("autoencoder", "denoiser", "generator")
    parameters = _sum(model.number(f"{network}_parameters") for network in drawing)
    sampler = " ".join(filter(None, (sampling.text("sampler"), sampling.text("schedule"))))
    steps, truncation = sampling.number("steps"), sampling.number("truncation")
    how = f"{sampler}, {plural(steps, 'step')} each" if sampler and steps is not None else sampler
    if not how and truncation is not None:
        how = f"one pass each, truncation {truncation:g}"
    return (
        ("Trained on", _counted(images.number("train_images"), "image"), _patients(images, "train_patients")),
        ("Held out", _counted(images.number("held_out_images"), "image"), _patients(images, "held_out_patients")),
        ("Model", NOT_RECORDED if parameters is None else f"{_compact(parameters)} parameters", _about_model(model)),
        ("Made", _counted(sampling.number("count"), "image"), how),
        ("Time", cost.total.time, "all phases"),
        ("Per released image", cost.per_image, "CO₂e of the whole run"),
    )


def _was_run(facts: Facts) -> tuple[tuple[str, Rows], ...]:
    """(caption, rows) of each table; a row of which nothing is known is left out, and so is a table without rows."""
    images, model, sampling = facts.at("images"), facts.at("model"), facts.at("sampling")
    sampler = " · ".join(filter(None, (sampling.text("sampler"), sampling.text("schedule"))))
    channels, *grid = images.numbers("shape") or (0,)
    training = f"{whole(images.number('train_images'))} images {_patients(images, 'train_patients')}"
    held_out = f"{whole(images.number('held_out_images'))} images {_patients(images, 'held_out_patients')}"
    tables = {
        "Images and what was made of them": (
            ("Images", facts.text("label") or NOT_RECORDED),
            ("Trained on", training),
            ("Held out", held_out),
            ("About the patients", images.text("note") or NOT_RECORDED),
            ("Grid", f"{shape(tuple(grid))} voxels" + (f", {plural(channels, 'channel')}" if channels else "")),
            ("Spacing", f"{shape(images.numbers('spacing_mm'))} mm"),
            ("Synthetic images", whole(sampling.number("count"))),
            ("Sampler", sampler or NOT_RECORDED),
            ("Steps per image", whole(sampling.number("steps"))),
            ("Truncation", _plain(sampling.number("truncation"))),
            ("Network calls per image", whole(sampling.number("network_calls") if sampler else None)),
            ("Seed", whole(sampling.number("seed")).replace(",", "")),
        ),
        "Model": (
            ("Kind", _KINDS.get(model.text("kind") or "", NOT_RECORDED)),
            ("Generator", f"{whole(model.number('generator_parameters'))} parameters"),
            ("Discriminator", f"{whole(model.number('discriminator_parameters'))} parameters, for training alone"),
            ("Numbers in a latent", whole(model.number("latent_dim"))),
            ("Both saw", f"{whole(model.number('gan_images_seen'))} images, repeats included"),
            ("Autoencoder", f"{whole(model.number('autoencoder_parameters'))} parameters"),
            ("Denoiser", f"{whole(model.number('denoiser_parameters'))} parameters"),
            ("Kind of denoiser", model.text("denoiser_kind") or NOT_RECORDED),
            ("Works on", _SPACES.get(model.text("space") or "", NOT_RECORDED)),
            (
                "Predicts",
                {"v": "v (velocity)", "epsilon": "epsilon (the noise)"}.get(
                    model.text("objective") or "", NOT_RECORDED
                ),
            ),
            ("Latent", shape(model.numbers("latent_shape"))),
            (
                "Latent scale factor",
                ", ".join(map(_plain, model.numbers("latent_scale"))) or _plain(model.number("latent_scale")),
            ),
            ("Autoencoder saw", f"{whole(model.number('autoencoder_images_seen'))} images, repeats included"),
            ("Denoiser saw", f"{whole(model.number('denoiser_images_seen'))} images, repeats included"),
            ("Reconstruction error", f"{_plain(model.number('reconstruction_l1'))} mean absolute, images in −1 to 1"),
        ),
    }
    known = {
        caption: tuple((name, words) for name, words in rows if not words.startswith(NOT_RECORDED))
        for caption, rows in tables.items()
    }
    return tuple((caption, rows) for caption, rows in known.items() if rows)


def _quality(distance: Facts) -> Rows:
    rows = (
        ("Synthetic images", _estimate(distance.at("synthetic"))),
        ("Training images (yardstick)", _estimate(distance.at("real"))),
        ("Synthetic / training", _plain(distance.number("ratio"))),
        ("Synthetic / upper end of that", _plain(distance.number("ratio_to_real_high"))),
        ("Features", distance.text("features") or NOT_RECORDED),
    )
    return tuple((name, words) for name, words in rows if words != NOT_RECORDED)


def _estimate(facts: Facts) -> str:
    error = facts.number("standard_error")
    return _plain(facts.number("value")) + (f" ± {_plain(error)} (standard error)" if error is not None else "")


def _provenance(facts: Facts) -> Rows:
    version = facts.text("lichen")
    rows = [("lichen", version)] if version else []
    if finished := facts.text("finished_at"):
        rows.append(("Finished", finished))
    rows += rows_of(facts.at("provenance"))
    if checkpoint := facts.text("sampling", "checkpoint_sha256"):
        rows.append(("Checkpoint SHA-256", checkpoint))
    return tuple(rows)


def _hashes(run_dir: Path) -> Rows:
    """(file, SHA-256) of what the page was drawn from: whoever holds the files can tell that they are the same."""
    return tuple((name, sha256_of(run_dir / name)) for name in _BOUND_FILES if (run_dir / name).is_file())


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _counted(number: float | None, noun: str) -> str:
    return NOT_RECORDED if number is None else plural(number, noun)


def _patients(images: Facts, key: str) -> str:
    if images.flag("patients_known") is False:
        return "patients unknown"
    number = images.number(key)
    return "" if number is None else f"of {plural(number, 'patient')}"


def _about_model(model: Facts) -> str:
    """``reversible, pixel space, v-prediction``, as far as it is known."""
    if model.text("kind") == "stylegan2":
        return "generator of a StyleGAN2"
    words = ((model.text("space"), "{} space"), (model.text("objective"), "{}-prediction"))
    known = [model.text("denoiser_kind"), *(form.format(word) for word, form in words if word)]
    return ", ".join(filter(None, known))


def _plain(number: float | None) -> str:
    return NOT_RECORDED if number is None else f"{number:.3g}"


def _compact(number: float) -> str:
    for symbol, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{figure(number / size)} {symbol}"
    return whole(number)
