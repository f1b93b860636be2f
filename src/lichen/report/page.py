"""The page as a whole: gathers the sections of a run folder and renders the template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lichen.errors import RunError
from lichen.files import write_text
from lichen.plurals import plural
from lichen.report.cost import CostSection, cost_section
from lichen.report.curves import Curve, curves_section
from lichen.report.evidence import Document, Facts, read_document, read_text
from lichen.report.forecast import ForecastSection, forecast_section
from lichen.report.formats import NOT_RECORDED, shape, whole
from lichen.report.gallery import Gallery, gallery
from lichen.report.quality_words import estimate_words
from lichen.report.run_words import Rows, compact, counted, finished_words, hashes, of_patients, provenance_rows
from lichen.report.segmentation_page import segmentation_page
from lichen.report.templates import render
from lichen.report.verdict import AuditSection, audit_section
from lichen.report.whatif_panel import Panel, whatif_panel
from lichen.runs import read_log

_KINDS = {"diffusion": "diffusion", "stylegan2": "StyleGAN2 with adaptive discriminator augmentation"}
_SPACES = {"latent": "latents of the autoencoder", "pixel": "the voxels themselves, without an autoencoder"}


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
    path, summary = run_dir / "report.html", read_document(run_dir / "summary.json")
    if summary.facts.text("task") == "segmentation":
        html = render("segmentation.html", page=segmentation_page(run_dir, summary.facts))
    else:
        html = render("report.html", page=_gather(run_dir, summary))
    write_text(path, html)
    return path


def _gather(run_dir: Path, summary: Document) -> Page:
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
        provenance=provenance_rows(facts),
        hashes=hashes(run_dir),
        config=read_text(run_dir / "config.yaml"),
    )


def _subtitle(facts: Facts) -> str:
    is_phantom = facts.flag("is_phantom")
    images = "" if is_phantom is None else " of built-in phantoms: no patients" if is_phantom else " of medical images"
    return f"A generative model{images}{finished_words(facts)}"


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
        ("Trained on", counted(images.number("train_images"), "image"), of_patients(images, "train_patients")),
        ("Held out", counted(images.number("held_out_images"), "image"), of_patients(images, "held_out_patients")),
        ("Model", NOT_RECORDED if parameters is None else f"{compact(parameters)} parameters", _about_model(model)),
        ("Made", counted(sampling.number("count"), "image"), how),
        ("Time", cost.total.time, "all phases"),
        ("Per released image", cost.per_image, "CO₂e of the whole run"),
    )


def _was_run(facts: Facts) -> tuple[tuple[str, Rows], ...]:
    """(caption, rows) of each table; a row of which nothing is known is left out, and so is a table without rows."""
    images, model, sampling = facts.at("images"), facts.at("model"), facts.at("sampling")
    sampler = " · ".join(filter(None, (sampling.text("sampler"), sampling.text("schedule"))))
    channels, *grid = images.numbers("shape") or (0,)
    training = f"{counted(images.number('train_images'), 'image')} {of_patients(images, 'train_patients')}"
    held_out = f"{counted(images.number('held_out_images'), 'image')} {of_patients(images, 'held_out_patients')}"
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
    value = facts.number("value")
    return NOT_RECORDED if value is None else estimate_words(value, facts.number("standard_error"))


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _about_model(model: Facts) -> str:
    """``reversible, pixel space, v-prediction``, as far as it is known."""
    if model.text("kind") == "stylegan2":
        return "generator of a StyleGAN2"
    words = ((model.text("space"), "{} space"), (model.text("objective"), "{}-prediction"))
    known = [model.text("denoiser_kind"), *(form.format(word) for word, form in words if word)]
    return ", ".join(filter(None, known))


def _plain(number: float | None) -> str:
    return NOT_RECORDED if number is None else f"{number:.3g}"
