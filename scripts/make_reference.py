"""Write docs/reference.md: commands, options, settings, presets, exit codes, files.

    python scripts/make_reference.py [PAGE]

Everything that the code knows is taken from it: options and settings from the dataclasses, commands and exit codes from
the command line. What stands here in words are the files that lichen writes; a test compares them with a real run.
Same code, same bytes.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from lichen import errors
from lichen.commands import COMMANDS
from lichen.config import RunConfig
from lichen.options import (
    AuditOptions,
    CardOptions,
    DoctorOptions,
    ImagesOptions,
    InitOptions,
    MeasureOptions,
    PredictOptions,
    QualityOptions,
    ReleaseOptions,
    ReportOptions,
    RunOptions,
    RunsOptions,
    SampleOptions,
    SegmentOptions,
    SelectOptions,
    SlurmOptions,
    StudyOptions,
    WhatifOptions,
)
from lichen.presets import PresetName, load_preset
from lichen.settings import field_docs, flatten

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"

OPTIONS: dict[str, type] = {
    "init": InitOptions,
    "run": RunOptions,
    "images": ImagesOptions,
    "train": RunOptions,
    "sample": SampleOptions,
    "segment": SegmentOptions,
    "audit": AuditOptions,
    "quality": QualityOptions,
    "release": ReleaseOptions,
    "report": ReportOptions,
    "predict": PredictOptions,
    "whatif": WhatifOptions,
    "card": CardOptions,
    "runs": RunsOptions,
    "study": StudyOptions,
    "select": SelectOptions,
    "measure": MeasureOptions,
    "slurm": SlurmOptions,
    "doctor": DoctorOptions,
}
"""The dataclass of options of each command."""

EXIT_CODES = {
    0: "The command did what was asked. After `run` and `audit`: the verdict is `clean`.",
    1: "`run` and `audit`: the verdict is `copies`. `release`: not released, because too many may be copies.",
    2: "Something that was given cannot be used. A message on stderr says what, and how to put it right.",
    3: "`run` and `audit`: the verdict is `inconclusive`. `release`: not released for that reason.",
    4: "A budget does not allow the work, or is spent. What was trained so far is saved.",
    70: "A defect of lichen; the traceback says where.",
    130: "Interrupted from the keyboard. The same command again goes on.",
    143: "`audit` and `release`: asked to stop (SIGTERM, SIGUSR1), so there is no verdict. The same command goes on.",
}

RUN_FOLDER = {
    "config.yaml": "All settings of the run. It can be given to `--config`.",
    "log.jsonl": "One JSON object a line while training: `time`, `phase`, `images_seen`, `loss`, `learning_rate`, "
    "`gradient_norm`. Of phase `probe`: `n` samples compared, `above` and `share` of them nearer than new patients, "
    "`mean_score`, `p_value`, `rises` (0 or 1), and with `--probe.quality` the kernel `distance` to held-out images, "
    "`distance_error` (standard error), `distance_real_high` (upper end of that of training images). "
    "Of phase `stop`: `kept_images_seen`, where a probe ended training. "
    "Of phase `segmenter`: `loss`, `validation_dice`, and `spent_j`, the joules of the training by then.",
    "energy-<host>-<rank>.jsonl": "What the meters said, one JSON object a line. Each process appends to its own file.",
    "forecasts.jsonl": "What the work was expected to take, one JSON object a line, from probes before it began.",
    "checkpoints/autoencoder.state.safetensors": "State of the autoencoder's training, to resume from.",
    "checkpoints/diffusion.state.safetensors": "State of the denoiser's training, to resume from.",
    "checkpoints/gan.state.safetensors": "State of the training of a StyleGAN2, to resume from.",
    "checkpoints/generator.safetensors": "Finished generator: averaged weights, architecture, latent scale, tuning.",
    "checkpoints/segmenter.state.safetensors": "State of a segmenter's training, to go on from, and its best weights.",
    "checkpoints/segmenter.safetensors": "After `lichen segment`: the best weights, architecture and classes.",
    "checkpoints/images.sha256": "Hash of the training images; a run is not resumed with others.",
    "samples/sample-<index>.png": "A synthetic picture of one channel (16-bit gray) or three (8-bit colour).",
    "samples/sample-<index>.nii.gz": "A synthetic volume, or a picture with another number of channels; float32 from "
    "0 to 1, or in the intensities of `images.window`.",
    "samples/sample-<index>.json": "The sidecar of a synthetic image; see below.",
    "audit/audit.json": "The verdict and one finding per synthetic image. Real patients and images have pseudonyms.",
    "audit/PRIVATE-names.json": "**Whom the pseudonyms stand for**, and their key, made once per folder. Readable by "
    "its owner only; keep it as private as the images.",
    "quality/quality.json": "After `lichen quality --run`: figures of the samples beside those between real images.",
    "quality/quality.html": "The same for people. It can be shared.",
    "summary.json": "Results of every step. It holds the command as typed, so folder names too, and the names of "
    "images only if `--images.skip-bad` left some out.",
    "report.html": "The page for people. Copies are listed with the pseudonyms of their nearest training images.",
    "cards/model-card.md": "After `lichen card`: metadata for a Hugging Face model card; its `emissions` are in grams.",
    "cards/emissions.csv": "The same with the columns of codecarbon: `emissions` in kilograms, energies in kWh with "
    "the building's overhead, `duration` in seconds. What is not known is empty.",
    "cards/sci.json": "The Software Carbon Intensity of a released image (ISO/IEC 21031) and its terms.",
    "cards/methods.txt": "A paragraph for a paper, and the references it names.",
    ".lock": "Keeps two processes out of one folder. Empty.",
}

RELEASE = {
    "images/": "The images that passed, under their names, with the sidecars that lichen wrote.",
    "data-card.json": "What was released, audited, tested and not tested, and what it cost. No name of any image.",
    "data-card.html": "The same for people.",
    "SHA256SUMS": "The sum of every other file, for `sha256sum -c`. Its own SHA-256 names the set.",
}

STUDY = {
    "report.html": "Charts, a verdict on each statement, and all outcomes with intervals. No image and no name.",
    "study.md": "The same in Markdown, with the charts beside it.",
    "figures/<plot>.svg": "A chart as a file of its own.",
    "results.csv": "A row for each cell: table, levels, seed, state, outcomes.",
    "study.json": "Everything for other programs; `details` hold distributions, sorted, so that no value is anybody's.",
    "definition.yaml": "The study as it was asked for.",
    "plan.json": "What each kind of run was expected to take.",
    "runs/<cell>/": "The run folder of a cell, with its images: not to be shared. Of forecasts `forecast.json` alone.",
    "settings/<cell>.yaml": "All settings of a cell, with the folder of its images.",
    "outcomes/<cell>.json": "Its outcomes in full, kept because they take a while.",
    "logs/<cell>.txt": "What its process said.",
}

SEARCH_FOLDER = {
    "report.html": "What to take and what it costs: charts, the front, every configuration. No image and no name.",
    "search.md": "The same in Markdown, with tables to paste and the charts beside it.",
    "figures/quality-against-cost.svg": "Configurations, the Pareto front, and what was refused or stopped.",
    "figures/cut-at-budget.svg": "Quality at a budget for each candidate, beside that of training until done.",
    "figures/learning.svg": "Quality over what was spent on training.",
    "results.csv": "A row for each candidate: settings, seed, state, quality, joules, grams, reason.",
    "search.json": "Everything for other programs; see below.",
    "candidates.json": "Each candidate as it is known, with curve and forecasts from before: to replay a search.",
    "definition.yaml": "The search as it was asked for.",
    "decisions.jsonl": "What was refused or stopped, one JSON object a line: when, why, and under which limits.",
    "forecasts/<plan>.json": "What a kind of candidate was expected to take, from a probe.",
    "energy-<host>-<process>.jsonl": "The energy of these probes.",
    "runs/<candidate>/": "The run folder of a candidate, with its images if it makes any: not to be shared.",
    "cuts/<candidate>.json": "What it could do when its budget was spent, where it went on.",
    "settings/<candidate>.yaml": "All settings of a candidate, with the folder of its images.",
    "logs/<candidate>.txt": "What its process said.",
    "optuna.journal": "After `--method optuna`: Optuna's journal of trials.",
}

SEARCH = {
    "lichen": "Version that wrote the file.",
    "layout": "1: the layout of this file.",
    "title": "Of the search's file.",
    "task": "`segmentation` or `generation`.",
    "quality": "`dice` or `kernel_distance`.",
    "better": "`higher` or `lower`: which qualities are.",
    "space": "The settings that are varied.",
    "seeds": "With which each configuration is trained.",
    "planned_images": "Synthetic images whose cost counts beside training.",
    "beta": "Of the scalar objective loss + beta * kg CO2e.",
    "limits": "Of a candidate (`candidate_j`, `peak_memory_bytes`, `copy_rate`) and of the search (`search_j`); "
    "null: none.",
    "zone": "Place of the electricity; null: unknown, and grams are ranges.",
    "month": "Of the electricity; null: the year.",
    "year": "Of the intensity's level.",
    "g_per_kwh": "Intensity with `low`, `estimate`, `high`.",
    "pue": "Power usage effectiveness; null: from 1 to 1.58.",
    "attribution": "To be printed with the grams.",
    "choice": "What to `take` and the `best` figure, by number of configuration; `alike`: not shown to be worse "
    "than the best; `difference` of quality; `is_judged`: false where no interval says what is chance. null: "
    "nothing to choose.",
    "in_budget": "The same within `limits.candidate_j`; `cut`: as it was when the budget was spent. null: no "
    "budget, or nothing fits.",
    "nearly": "The cheapest configuration that reaches 99 % and 95 % of the best `quality` (101 % and 105 % of a "
    "distance).",
    "front": "The Pareto front by number of configuration, the cheapest first.",
    "steps": "From each of the front to the next: `gain` of quality (share) with its `difference`, extra joules and "
    "grams, and what the next 1 % of quality costs; null: the front ends before.",
    "ends": "The cheapest and the best of the front: `cost_ratio`, `gain`, `difference`.",
    "search_j": "What the search used.",
    "search_g": "The same in grams of CO2e.",
    "everything_j": "What training all candidates until done would use: measured where finished, forecast elsewhere.",
    "saved_j": "What the search saved of that; below 0 where it used more.",
    "saved_g": "The same in grams.",
    "saved_share": "The same as a share of everything.",
    "forecast": "How many candidates stand in `everything_j` by forecast.",
    "unknown": "How many are not in it, because nothing is known of them.",
    "rank_correlations": "Spearman's, of `parameters`, `operations` and `time` with the joules of training, over "
    "configurations.",
    "configurations": "Each with `settings`, its `candidates`, how many are `trained`, `quality` (over seeds), "
    "`cost_j`, `cost_over_seeds_j`, `cost_g`, `expected_j` (with forecasts), `cut_quality` and `cut_cost_j`, "
    "`objective`, `pepr`, and `why_not`: why it can be on no front.",
    "candidates": "Each as it is known: settings, seed, state, joules, `curve` of (joules, quality), figures, reason.",
    "provenance": "Python, platform and time.",
}

SIDECAR = {
    "synthetic": "Always `true`. The image file itself says it as well.",
    "checkpoint_sha256": "SHA-256 of the generator that made the image: of weights and description, not of its file.",
    "sampler": "Name of the sampler. Of a StyleGAN2 there is `truncation` in place of it, schedule, steps and compile.",
    "schedule": "Name of the schedule of noise levels.",
    "steps": "Noise levels visited.",
    "batch_size": "Images drawn together.",
    "compile": "Whether the denoiser was compiled.",
    "seed": "Seed of the whole set.",
    "index": "Number of the image in the set.",
    "affine": "4 x 4: voxel index to millimetres.",
}

AUDIT = {
    "lichen": "Version that wrote the file.",
    "layout": "2: the layout of this file.",
    "verdict": "`clean`, `copies` or `inconclusive`.",
    "exit_code": "0, 1 or 3.",
    "counts": "Images and patients compared, repeated training images, images that could not be compared.",
    "resolution": "`patients` held out, `smallest_p` possible, `detectable_share` of copies, `patients_needed` more.",
    "set_p_value": "How often a set of as many images without a copy looks as much like one with copies.",
    "images": "One finding per synthetic image: `file`, `score` and `score_name`, `scores` (all of them), `p_value`, "
    "`flagged`, `identical`, `nearest` and `nearest_image` (pseudonyms of a training patient and image), `transform` "
    "from that image to this one, and in a run folder the file's `sha256`.",
    "copies": "File names of the flagged images.",
    "copy_rate": "Share of copies, `estimate` between `low` and `high`, `of` so many synthetic images; null if not "
    "estimated.",
    "memorised_patients": "Share of training patients of whom there is a copy, `of` so many patients, found `by` so "
    "many synthetic images; null if not estimated.",
    "self_test": "By transformation: `words` for it, `power` over `n` planted copies, `false_positive_rate` over "
    "`n_new` images of new patients; null if nothing was planted.",
    "calibration": "The `level` of the self-test, and by score the similarity of each held-out patient, sorted and "
    "without names.",
    "duplicates": "What the checks of the real images found: `repeated_images`, pairs of images `within_training` and "
    "`with_held_out` that are one image, `left_out_patients`, patients with `many_images`.",
    "competition": "Against a withheld set: `wins` of each image, `threshold`, number `flagged`, `least_discoveries`; "
    "null without one.",
    "membership": "What the model's loss says of who is a training patient; null if no model was given.",
    "classics": "What the rules of earlier papers say; null if not computed.",
    "label_maps": "How many label maps equal a training patient's, or are nearer to it than new patients'; null: none.",
    "settings": "The settings of the audit.",
    "inputs": "SHA-256 of what was compared.",
    "reviewed": "What people said of the pairs (`--reviewed`), and how the flags agree; null: no marks were given.",
    "not_tested": "What the audit cannot see, one sentence each.",
}

QUALITY = {
    "lichen": "Version that wrote the file.",
    "layout": "1: the layout of this file.",
    "counts": "Images, and patients of the real ones, in each set.",
    "grid": "Channels and voxels on which images were compared.",
    "real_from": "Which real images are compared with the reference as the yardstick.",
    "nearest_neighbours": "How many make a neighbourhood, for precision, recall, density and coverage.",
    "figures": "Each with `name`, `extractor`, and `value`, `low`, `high`, `images` and `reference_images` of the "
    "`synthetic` images, of `real` ones, and of as many synthetic ones as there (`matched`); `finding`: `as real`, "
    "`worse`, `better` or `unknown`. null where sets are too small.",
    "extractors": "By name of the features, what they are and what is done to an image first.",
    "not_seen": "What no figure sees, one sentence each.",
    "task": "With `--task`: `train_images` that each segmenter learned from, `test_patients`, `parameters`, the Dice "
    "of what learned from `synthetic` and `real` images, and their `difference` paired by patient. null without.",
    "inputs": "SHA-256 of what was compared.",
}


def main(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference(), encoding="utf-8")
    print(path)


def reference() -> str:
    """The whole page."""
    parts = (_head(), _commands(), _settings(), _presets(), _exit_codes(), _files(), _errors())
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _head() -> Iterator[str]:
    yield "<!-- Written by scripts/make_reference.py. Change the code, then run it again. -->"
    yield "# Reference"
    yield ""
    yield "Commands, options, settings and files of lichen. How to use them: [how-to](how-to.md)."
    yield ""


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield "Every option is also listed by `lichen COMMAND --help`."
    yield ""
    shown: dict[type, str] = {}
    for name, command in COMMANDS.items():
        options = OPTIONS[name]
        yield f"### lichen {name}"
        yield ""
        yield inspect.cleandoc((command if options is RunOptions else options).__doc__ or "")
        yield ""
        first = shown.setdefault(options, name)
        if first != name:
            yield f"It takes the options of [lichen {first}](#lichen-{first})."
            yield ""
            continue
        rows, sections = _options(options)
        yield from _table(("option", "type", "default", "meaning"), rows)
        if sections:
            listed = ", ".join(f"[`--{section}.*`](#{section})" for section in sections)
            yield f"And the settings {listed}."
            yield ""


def _options(options: type, prefix: str = "") -> tuple[list[tuple[str, ...]], list[str]]:
    """The rows of a command's own options, and the names of the sections of settings that it takes too."""
    hints, docs = get_type_hints(options, include_extras=True), field_docs(options)
    shared = {field.name: type(getattr(RunConfig(), field.name)) for field in dataclasses.fields(RunConfig)}
    rows: list[tuple[str, ...]] = []
    sections: list[str] = []
    for field in dataclasses.fields(options):
        kind = hints[field.name]
        if kind is shared.get(field.name):
            sections.append(field.name)
            continue
        if dataclasses.is_dataclass(_plain(kind)):
            rows += _options(cast("type", _plain(kind)), f"{_renamed(kind) or field.name}.")[0]
            continue
        positional = get_origin(kind) is Annotated
        plain = get_args(kind)[0] if positional else kind
        name = field.name.upper() if positional else _option(prefix + field.name)
        default = "required" if field.default is dataclasses.MISSING else _value(field.default)
        rows.append((f"`{name}`", _type(plain), default, docs[field.name]))
    return rows, sections


def _settings() -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield "Each is an option of the command line and a key of a YAML file: `--images.held-out-fraction 0.5` is"
    yield ""
    yield from ("```yaml", "images:", "  held_out_fraction: 0.5", "```", "")
    yield "The command line replaces the YAML file, and the YAML file replaces the preset. The defaults below hold"
    yield "where none of them says anything."
    yield ""
    for section in dataclasses.fields(RunConfig):
        part = getattr(RunConfig(), section.name)
        hints, docs = get_type_hints(type(part), include_extras=True), field_docs(type(part))
        yield f"### {section.name}"
        yield ""
        yield inspect.cleandoc(type(part).__doc__ or "")
        yield ""
        rows = [
            (
                f"`{setting.name}`",
                ", ".join(
                    f"`{name}`" for name in (_option(f"{section.name}.{setting.name}"), *_aliases(hints[setting.name]))
                ),
                _type(_plain(hints[setting.name])),
                _value(getattr(part, setting.name)),
                docs[setting.name],
            )
            for setting in dataclasses.fields(part)
        ]
        yield from _table(("setting", "option", "type", "default", "meaning"), rows)


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _renamed(hint: Any) -> str | None:
    """The name on the command line, where it is not that of the field."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra.name for extra in extras if getattr(extra, "name", None)), None)


def _aliases(hint: Any) -> tuple[str, ...]:
    """Shorter names of an option."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return tuple(name for extra in extras for name in getattr(extra, "aliases", None) or ())


def _presets() -> Iterator[str]:
    yield "## Presets"
    yield ""
    yield "What `--preset` sets; the images decide whether 2D or 3D settings apply. An empty cell is the default."
    yield ""
    names = [(preset, dims) for preset in get_args(PresetName) for dims in (2, 3)]
    loaded = [dict(flatten(load_preset(preset, dims))) for preset, dims in names]
    rows = []
    for setting, default in flatten(RunConfig()):
        values = [preset[setting] for preset in loaded]
        if setting != "images.phantoms" and any(value != default for value in values):
            rows.append((f"`{setting}`", *("" if value == default else _value(value) for value in values)))
    yield from _table(("setting", *(f"{preset}, {dims}D" for preset, dims in names)), rows)


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes"
    yield ""
    yield from _table(("code", "meaning"), [(str(code), words) for code, words in EXIT_CODES.items()])


def _files() -> Iterator[str]:
    yield "## Run folder"
    yield ""
    yield "The folder is the whole state of a run. Files are plain, and are written whole or appended to."
    yield ""
    yield from _table(("file", "what it is"), [(f"`{name}`", words) for name, words in RUN_FOLDER.items()])
    yield "`lichen audit` writes `audit.json`, `report.html`, `PRIVATE-names.json`, an energy trace and `.lock` into"
    yield "its own folder."
    yield "`lichen quality --out` writes `quality.json`, `quality.html`, an energy trace and `.lock` into that folder."
    yield ""
    yield "## Release folder"
    yield ""
    yield "What `lichen release` makes, whole or not at all."
    yield ""
    yield from _table(("file", "what it is"), [(f"`{name}`", words) for name, words in RELEASE.items()])
    yield "## Study folder"
    yield ""
    yield from _table(("file", "what it is"), [(f"`{name}`", words) for name, words in STUDY.items()])
    yield "## Search folder"
    yield ""
    yield "What `lichen select` keeps of a search, and says of it at its end."
    yield ""
    yield from _table(("file", "what it is"), [(f"`{name}`", words) for name, words in SEARCH_FOLDER.items()])
    yield "## search.json"
    yield ""
    yield "Figures with an interval have `estimate`, `low`, `high`, and where they are means `n`, the seeds."
    yield ""
    yield from _table(("field", "meaning"), [(f"`{name}`", words) for name, words in SEARCH.items()])
    yield "## Sidecar of a synthetic image"
    yield ""
    yield from _table(("field", "meaning"), [(f"`{name}`", words) for name, words in SIDECAR.items()])
    yield "## audit.json"
    yield ""
    yield from _table(("field", "meaning"), [(f"`{name}`", words) for name, words in AUDIT.items()])
    yield "`lichen/audit/audit.schema.json` in the package describes every key (JSON Schema, draft 2020-12)."
    yield "`lichen.audit.read_audit` reads the file back."
    yield ""
    yield "## quality.json"
    yield ""
    yield from _table(("field", "meaning"), [(f"`{name}`", words) for name, words in QUALITY.items()])


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield "In Python each error below is a `lichen.errors.LichenError` with a `problem` and a `fix`."
    yield ""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind is not errors.LichenError]
    kinds = sorted((kind for kind in kinds if issubclass(kind, errors.LichenError)), key=_line_number)
    yield from _table(("error", "when"), [(f"`{kind.__name__}`", kind.__doc__ or "") for kind in kinds])


def _line_number(kind: type) -> int:
    return inspect.getsourcelines(kind)[1]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from map(_row, rows)
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _type(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return ", or ".join("nothing" if option is type(None) else _type(option) for option in options)
    if origin is tuple:
        return {int: "whole numbers", float: "numbers", str: "texts"}.get(options[0]) or f"any of {_type(options[0])}"
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in options)
    return {int: "whole number", float: "number", bool: "switch", str: "text", Path: "path"}[kind]


def _value(value: Any) -> str:
    if value is None or value == ():
        return "nothing"
    if value is False:
        return "off"
    if isinstance(value, tuple):
        return f"`{' '.join(map(str, value))}`"
    if isinstance(value, int):
        return f"`{value}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
