"""Results in words for the terminal: ten lines for a run, a table for many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from lichen.carbon import J_PER_KWH, Range, energy_range_text, energy_text, grams_range_text, grams_text, place_text
from lichen.carbon.words import printable
from lichen.images import Survey
from lichen.ledger import RunRow, Total
from lichen.plurals import plural
from lichen.report.dice_words import ENDS, dice_words, difference_finding, difference_words
from lichen.report.evidence import Facts
from lichen.report.quality_words import FIGURES, finding_words, lacking_words, reading_words
from lichen.skipped import skipped_words

VERDICTS = {
    "clean": "clean: no copy of a training patient found",
    "copies": "COPIES of training patients found: do not share this set as it is",
    "inconclusive": "inconclusive: these images do not allow to say that there is no copy",
}


def in_ten_lines(summary: dict[str, Any], folder: Path) -> str:
    """What a run did, cost and found."""
    images, model, sampling, audit = (summary[name] for name in ("images", "model", "sampling", "audit"))
    energy, share = summary["energy"], audit["resolution"]["detectable_share"]
    shape = " x ".join(map(str, images["shape"][1:]))
    least = f"copies can be seen from a share of {share:.1%}" if share <= 1 else "no share of copies could be seen"
    rows = [
        ("images", f"{summary['label']}, grid {shape}: {_images(images, 'train')} to train on"),
        ("", f"{_images(images, 'held_out')} held out"),
        ("model", _model(model)),
        ("samples", f"{audit['tested']} by {_sampler(sampling)}"),
        ("energy", _energy(energy["total"], energy["phases"])),
        ("carbon", _carbon(summary["carbon"])),
        ("verdict", VERDICTS[audit["verdict"]]),
        ("", f"{_flagged(audit)}; {least} with these held-out patients"),
        ("quality", _quality(summary["quality"]["kernel_distance"])),
        ("report", str(folder / "report.html")),
    ]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)


def segmentation_lines(summary: dict[str, Any], folder: Path) -> str:
    """What a segmentation did, cost and found."""
    images, model, found = (summary[name] for name in ("images", "model", "segmentation"))
    shape = " x ".join(map(str, images["shape"][1:]))
    seen = f"{found['images_seen']:,} of at most {plural(found['planned_images_seen'], 'image')} seen"
    rows = [
        ("images", f"{summary['label']}, grid {shape}: {_images(images, 'train')} to train on"),
        ("", f"{_images(images, 'validation')} to choose by, {_images(images, 'test')} to test on"),
        ("model", f"U-Net of width {model['width']}, {model['parameters'] / 1e6:.2f} M parameters"),
        ("trained", f"{seen}; {ENDS[found['ended_by']]}; best after {found['best_images_seen']:,}"),
        ("Dice", f"{dice_words(Facts(found['dice']))}, mean over classes"),
        *(("", f"{dice_words(Facts(one['dice']))}, class {one['value']}") for one in found["classes"]),
        ("energy", _energy(summary["energy"]["total"], summary["energy"]["phases"])),
        ("carbon", _carbon(summary["carbon"])),
        ("report", str(folder / "report.html")),
    ]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)


def _task_rows(task: dict[str, Any]) -> list[tuple[str, ...]]:
    """What learned from synthetic images beside what learned from real ones."""
    made, real = task["synthetic"], task["real"] or {"dice": None, "classes": []}
    return [
        (task["name"], "synthetic", "real", ""),
        ("  Dice", dice_words(Facts(made["dice"])), dice_words(Facts(real["dice"])), _learned(task)),
        *(
            (f"  class {one['value']}", dice_words(Facts(one["dice"])), dice_words(Facts(other and other["dice"])), "")
            for one, other in zip_longest(made["classes"], real["classes"])
        ),
    ]


def _learned(task: dict[str, Any]) -> str:
    """How much worse or better what learned from synthetic images is: ``worse, difference by patient -0.1``."""
    difference = Facts(task["difference"])
    finding, by = difference_finding(difference), difference_words(difference)
    learned = f"learned from {plural(task['train_images'], 'image')}"
    found = "as real" if finding == "near" else finding
    return ", ".join(filter(None, (found, by and f"difference by patient {by}", learned)))


def _model(model: dict[str, Any]) -> str:
    """Which networks, and how large: ``autoencoder 0.10 M and reversible denoiser 2.00 M parameters``."""
    if model.get("kind") == "stylegan2":
        sizes = (f"{name} {model[f'{name}_parameters'] / 1e6:.2f} M" for name in ("generator", "discriminator"))
        return f"StyleGAN2, {' and '.join(sizes)} parameters"
    kind = model.get("denoiser_kind", "")  # summaries of earlier runs do not say it
    denoiser = f"{kind} denoiser {model['denoiser_parameters'] / 1e6:.2f} M parameters".lstrip()
    if model["autoencoder_parameters"] is None:
        return f"{denoiser}, on the voxels themselves"
    return f"autoencoder {model['autoencoder_parameters'] / 1e6:.2f} M and {denoiser}"


def _sampler(sampling: dict[str, Any]) -> str:
    if "sampler" not in sampling:
        return f"one pass of the generator each, truncation {sampling['truncation']:g}"
    return f"{sampling['sampler']}, {sampling['network_calls']} network calls each"


def _flagged(audit: dict[str, Any]) -> str:
    """Why the verdict is what it is, where the number of flagged images alone would contradict it."""
    words = f"{audit['copies']} of {audit['tested']} flagged"
    if audit["verdict"] == "copies" and not audit["copies"]:
        return f"{words}, but more are near to training patients than chance explains"
    if audit["verdict"] == "inconclusive" and audit["copies"]:
        return f"{words}, as may happen by chance in a set without any copy"
    return words


def quality_lines(found: dict[str, Any], files: str, cost: str) -> str:
    """The figures of a synthetic set: as many synthetic as real images, and real ones beside them."""
    counts = found["counts"]
    train = f", {plural(counts['train_images'], 'training image')}" if "train_images" in counts else ""
    real = (
        f"{plural(counts['reference_images'], 'real one')} of {plural(counts['reference_patients'], 'patient')}{train}"
    )
    left_out = skipped_words(counts.get("skipped", {}))  # files of earlier versions do not have it
    lines = [f"compared {plural(counts['synthetic_images'], 'synthetic image')} with {real}"]
    lines += [f"left out as unusable: {left_out}"] if left_out else []
    rows: list[tuple[str, ...]] = []
    for extractor, figures in groupby(found["figures"], key=lambda figure: str(figure["extractor"])):
        rows += [("",) * 4, (extractor, "synthetic", "real", "")]
        for figure in figures:
            drawn = Facts(figure["matched"] or figure["synthetic"])
            title, (finding, _) = FIGURES[figure["name"]].title, finding_words(figure["name"], figure["finding"])
            rows.append((f"  {title}", reading_words(drawn), reading_words(Facts(figure["real"])), finding))
    if (task := found.get("task")) is not None:  # files of earlier versions do not have it
        rows += [("",) * 4, *_task_rows(task)]
    lines += [_columns(rows), ""]
    if lacking := lacking_words({figure["name"] for figure in found["figures"]}):
        lines.append(f"lacking  {lacking}")
    lines += ["copies   are not seen by any of these; lichen audit looks for them"]
    lines += [f"cost     {cost or 'not measured'}", f"files    {files}"]
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def survey_lines(found: Survey, montage: Path | None) -> str:
    """What a folder of images holds, and what is wrong with which of them."""
    values = "none" if found.values is None else f"{found.values[0]:.4g} to {found.values[1]:.4g} in the usual image"
    grid = "none" if found.grid is None else " x ".join(map(str, found.grid))
    known = "" if found.patients_known else " (nothing says which images are of one patient)"
    held = f"{plural(found.images, 'image')} of {plural(found.patients, 'patient')}"
    rows = [
        ("source", f"{found.label}; {found.note}" if found.note else found.label),
        ("found", f"{held}{known}, {found.spatial_dims} dimensions"),
        ("split", f"{plural(found.train_patients, 'patient')} to train on, {found.held_out_patients} held out"),
        ("shapes", _counted(found.shapes)),
        ("spacings", f"{_counted(found.spacings_mm)} mm"),
        ("channels", _channels(found)),
        *([("classes", _classes(found))] if found.classes else []),
        ("values", values),
        ("grid", f"{grid} voxels, unless --images.size says otherwise"),
    ]
    for number, problem in enumerate(found.problems):
        rows.append(("" if number else "problems", f"{problem.reason}"))
        rows += [("", f"  fix: {problem.fix}")] if problem.fix else []
    if found.problems:
        rows.append(
            ("", f"{len(found.problems)} in all: a run stops at one, or leaves them out with --images.skip-bad")
        )
    else:
        rows.append(("problems", "none"))
    if montage is not None:
        rows.append(("montage", f"{montage}: images of patients, keep it as such"))
    return "\n".join(f"{name:<8} {text}" for name, text in rows)


def _channels(found: Survey) -> str:
    counted = _counted([(str(channels), count) for channels, count in found.channels])
    label = " (label map, last)" if found.classes else ""
    return f"{counted}: {', '.join(found.channel_names)}{label}" if found.channel_names else counted


def _classes(found: Survey) -> str:
    return ", ".join(f"{label} ({share:.2%} of voxels)" for label, share in found.classes)


def _counted(kinds: Sequence[tuple[str, int]]) -> str:
    if len(kinds) == 1:
        return kinds[0][0]
    return ", ".join(f"{kind} ({count} times)" for kind, count in kinds) or "none"


def runs_table(rows: Sequence[RunRow], sums: Sequence[Total], root: Path) -> str:
    """The runs under ``root``, one line each, and what they used together."""
    if not rows:
        return f"no runs in {root}; make one with: lichen run --out {root / 'first'}"
    cells = [("run", "state", "energy", "CO2e", "verdict")]
    cells += [(printable(row.path), row.state, _kwh(row.energy_kwh), _grams(row.carbon_g), _found(row)) for row in rows]
    cells.append(("", "", "", "", ""))
    for part in sums:
        unmeasured = f", {part.unmeasured} of them not measured" if part.unmeasured else ""
        state = f"{plural(part.runs, 'run')}{unmeasured}"
        cells.append((printable(part.name), state, _kwh(part.energy_kwh), _grams(part.carbon_g), ""))
    return _columns(cells)


def _found(row: RunRow) -> str:
    """The verdict of an audit, or the Dice of a segmentation."""
    return row.verdict or ("not audited" if row.dice is None else f"Dice {row.dice:.3f}")


def _kwh(figure: Range | None) -> str:
    return energy_text(None if figure is None or figure.estimate is None else figure.estimate * J_PER_KWH)


def _grams(figure: Range | None) -> str:
    return "not measured" if figure is None else grams_text(figure)


def _images(images: dict[str, Any], part: str) -> str:
    return f"{plural(images[f'{part}_images'], 'image')} of {plural(images[f'{part}_patients'], 'patient')}"


def _energy(total: dict[str, float | None], phases: Sequence[dict[str, Any]]) -> str:
    if total["low_j"] is None:
        return "not measured"
    sources = sorted({part["source"] for phase in phases for part in phase["components"]})
    span = energy_range_text(total["low_j"], total["energy_j"], total["high_j"])
    return f"{energy_text(total['energy_j'])} ({span}; {', '.join(sources)})"


def _carbon(carbon: dict[str, Any] | None) -> str:
    if carbon is None:
        return "not measured"
    total = Range(**carbon["total_g"])
    if total.estimate is None:
        return f"{grams_range_text(total)} CO2e, place unknown; name it with --carbon.grid, e.g. FR"
    where = place_text(carbon["zone_name"], carbon["month"], carbon["year"])
    return f"{grams_text(total)} CO2e ({grams_range_text(total)}) {where}"


def _quality(distance: dict[str, Any] | None) -> str:
    if distance is None:
        return "not measured: too few images or patients"
    synthetic, real = distance["synthetic"]["value"], distance["real"]
    beside = "" if real is None else f"; real images among themselves {real['value']:.3g}"
    return f"kernel distance to held-out images {synthetic:.3g}{beside}"
