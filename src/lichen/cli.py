"""The ``lichen`` command: one short function per command, and one place where errors become two lines and a code.

Exit codes: 0 ok, 1 verdict failed, 2 something given cannot be used, 3 inconclusive, 4 a budget does not allow it,
70 a defect of lichen, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lichen import __version__
from lichen.arguments import parse
from lichen.errors import BudgetError, LichenError
from lichen.stopping import Stopped, listening
from lichen.team import joined

if TYPE_CHECKING:
    from pathlib import Path

    from lichen.config import ImagesConfig, RunConfig
    from lichen.options import PredictOptions, RunOptions
    from lichen.presets import PresetName

S = TypeVar("S", "RunOptions", "PredictOptions")
"""Options that hold all settings."""

BUDGET_CODE = 4
DEFECT_CODE = 70
VERDICT_CODES = {"clean": 0, "copies": 1, "inconclusive": 3}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    try:
        with listening():
            code = _run_command(arguments)
    except LichenError as error:
        print(f"{_who()}error: {error}", file=sys.stderr)
        code = BUDGET_CODE if isinstance(error, BudgetError) else 2
    except Stopped:
        print(f"{_who()}stopped as asked; the same command again goes on from here", file=sys.stderr)
        code = 0
    except (OSError, MemoryError) as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        print("  fix: free some space or memory, or choose another folder; then repeat the command", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped; the same command again goes on from the last checkpoint", file=sys.stderr)
        code = 130
    except Exception:  # noqa: BLE001 (a defect of lichen: its code must not look like a verdict)
        traceback.print_exc()
        print("error: this is a defect of lichen\n  fix: report it with the lines above", file=sys.stderr)
        code = DEFECT_CODE
    sys.exit(code)


def _run_command(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        _say(_overview())
        return 0
    if arguments[0] in {"-V", "--version"}:
        _say(f"lichen {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise _unknown(name)
    return COMMANDS[name](rest)


def run(arguments: list[str]) -> int:
    """Train, sample, measure, audit and report in one run folder."""
    from lichen.options import RunOptions

    options, config = _settings(RunOptions, arguments, "run")
    from lichen.chain import run as run_chain
    from lichen.runs import RunFolder
    from lichen.words import in_ten_lines

    folder = RunFolder(options.out)
    with joined() as team:
        summary = run_chain(config, folder, command=_command("run", arguments), quiet=options.quiet, team=team)
    if not team.leads:
        return 0
    _show(options.json, summary, in_ten_lines(summary, folder.path))
    return VERDICT_CODES[summary["audit"]["verdict"]]


def images(arguments: list[str]) -> int:
    """Say what would be read of a folder of images."""
    from lichen.options import ImagesOptions

    options = parse(ImagesOptions, "images", arguments)
    from lichen.images import check_name, open_source, survey, write_montage
    from lichen.progress import Progress
    from lichen.words import survey_lines

    if options.montage is not None:
        check_name(options.montage)
    config = dataclasses.replace(options.images, path=options.path, skip_bad=True)
    source = open_source(config)
    with Progress("read", len(source.items), quiet=options.quiet) as step:
        found = survey(source, config, step=step)
    shown = 0
    if options.montage is not None and found.images:
        shown = write_montage(options.montage, source.items, config.window)
    lines = survey_lines(found, options.montage if shown else None)
    _show(options.json, {**found.as_json(), "montage": str(options.montage) if shown else None}, lines)
    return 0 if found.images else 2


def train(arguments: list[str]) -> int:
    """Train a generator and stop there."""
    from lichen.options import RunOptions

    options, config = _settings(RunOptions, arguments, "train")
    from lichen.chain import train_only
    from lichen.runs import RunFolder

    with joined() as team:
        path = train_only(config, RunFolder(options.out), quiet=options.quiet, team=team)
    if not team.leads:
        return 0
    next_command = shlex.join(["lichen", "sample", str(options.out)])
    _show(options.json, {"generator": str(path)}, f"trained  {path}\nnext     {next_command}")
    return 0


def sample(arguments: list[str]) -> int:
    """Draw synthetic images from a trained generator."""
    from lichen.options import SampleOptions

    options = parse(SampleOptions, "sample", arguments)
    stored = _stored_settings(options.model)
    if stored is not None:  # what the run said is the default
        default = SampleOptions(options.model, sampling=stored.sampling, carbon=stored.carbon, budget=stored.budget)
        options = parse(SampleOptions, "sample", arguments, default)
    from lichen.chain import holding, sample_only, set_up
    from lichen.config import TrainingConfig
    from lichen.runs import RunFolder
    from lichen.watch import watching

    is_run = options.model.is_dir()
    checkpoint = RunFolder(options.model).generator if is_run else options.model
    folder = options.out or (RunFolder(options.model).samples if is_run else options.model.with_name("samples"))
    # the trace of a run's samples belongs to the run; that of a folder of its own, beside the images
    home = RunFolder(options.model if is_run and options.out is None else folder)
    with joined() as team:
        device = set_up(TrainingConfig(device=options.device), team)
        watch_with = watching(home.path, options.carbon, quiet=options.quiet, team=team, budget=options.budget)
        with holding(home, team), watch_with as watch:
            drawn = sample_only(checkpoint, options.sampling, folder, device, watch)
            cost = watch.grams_spent()
    if not team.leads:
        return 0
    if is_run:
        next_command = ["lichen", "audit", "--run", str(options.model), "--synthetic", str(folder), "--out", "AUDIT"]
    else:
        next_command = ["lichen", "audit", "--help"]
    result = {"folder": str(folder), "count": options.sampling.count, "drawn": drawn}
    lines = [
        f"samples  {options.sampling.count} synthetic images in {folder}, {drawn} of them drawn now",
        f"cost     {cost or 'not measured'}",
        f"next     {shlex.join(next_command)}",
        "         before anybody sees them: a copy of a training image is an image of a patient",
    ]
    _show(options.json, result, "\n".join(lines))
    return 0


def audit(arguments: list[str]) -> int:
    """Say whether synthetic images are copies of training patients."""
    from lichen.options import AuditOptions

    options = parse(AuditOptions, "audit", arguments)
    from lichen.audit import summary, write_audit
    from lichen.chain import audit_folders, audit_with_run, holding
    from lichen.config import RunConfig
    from lichen.errors import ConfigError
    from lichen.runs import RunFolder
    from lichen.settings import load_settings
    from lichen.watch import watching

    home = RunFolder(options.out)
    with (
        joined() as team,
        holding(home, team),
        watching(home.path, options.carbon, quiet=options.quiet, team=team) as watch,
    ):
        if options.run is not None:
            stored = load_settings(RunFolder(options.run).config, RunConfig())
            result, inputs = audit_with_run(stored, options.synthetic, options.audit, watch)
        elif options.train is not None and options.reference is not None:
            result, inputs = audit_folders(options, options.train, options.reference, watch)
        else:
            raise ConfigError(
                "an audit needs the training images and real images of other patients",
                fix="give --train DIR and --reference DIR, or --run RUN for those of a run folder",
            )
        if team.leads:
            write_audit(result, options.out / "audit.json", inputs_sha256=inputs)
    if not team.leads:
        return 0
    _show(options.json, result.as_json(), f"{summary(result)}\nfile        {options.out / 'audit.json'}")
    return result.exit_code


def report(arguments: list[str]) -> int:
    """Write report.html of a run folder anew."""
    from lichen.options import ReportOptions

    options = parse(ReportOptions, "report", arguments)
    stored = _stored_settings(options.run)
    if stored is not None:
        options = parse(ReportOptions, "report", arguments, ReportOptions(options.run, carbon=stored.carbon))
    from lichen.report import write_report
    from lichen.runs import RunFolder
    from lichen.summary import with_carbon
    from lichen.words import in_ten_lines

    folder = RunFolder(options.run)
    with folder.summary_in_use():
        summary = with_carbon(folder.require_summary(), options.carbon)
        lines = in_ten_lines(summary, folder.path)
        folder.write_summary(summary)
    path = write_report(folder.path)
    _show(options.json, {"report": str(path), "summary": summary}, lines)
    return 0


def predict(arguments: list[str]) -> int:
    """Say what a run would take, before it is run."""
    from lichen.options import PredictOptions

    options, config = _settings(PredictOptions, arguments, "predict")
    from lichen.chain.predicting import predict as predict_run

    if not options.quiet:
        print("timing some real steps; this takes up to a minute", file=sys.stderr)
    found = predict_run(config, options.samples, options.images_seen)
    _show(options.json, found.as_json(), str(found))
    warning = found.check_budget()
    if warning is not None and not options.quiet:
        print(f"note: {warning}", file=sys.stderr)
    return 0


def whatif(arguments: list[str]) -> int:
    """Say what a finished run would have cost elsewhere, in another month or with other numbers."""
    from lichen.options import WhatifOptions

    options = parse(WhatifOptions, "whatif", arguments)
    stored = _stored_settings(options.run)
    if stored is not None:
        options = parse(WhatifOptions, "whatif", arguments, WhatifOptions(options.run, carbon=stored.carbon))
    from lichen.whatif import what_if_of_run

    found = what_if_of_run(options.run, options.carbon, options.samples, options.steps, options.shared_over)
    if options.chart is not None:
        found.write_chart(options.chart)
    _show(options.json, found.as_json(), found.table(all_places=options.places))
    return 0


def card(arguments: list[str]) -> int:
    """Write a run's cost for a model card, codecarbon and a paper."""
    from lichen.options import CardOptions

    options = parse(CardOptions, "card", arguments)
    stored = _stored_settings(options.run)
    if stored is not None:
        options = parse(CardOptions, "card", arguments, CardOptions(options.run, carbon=stored.carbon))
    from lichen.cards import make_cards
    from lichen.place import embodied_of
    from lichen.runs import RunFolder
    from lichen.summary import with_carbon

    folder = RunFolder(options.run)
    with folder.summary_in_use():
        cards = make_cards(
            with_carbon(folder.require_summary(), options.carbon),
            embodied=embodied_of(options.carbon),
            project=None if stored is None else stored.labels.project,
        )
    paths = [str(path) for path in cards.write(options.out or folder.cards)]
    _show(options.json, {**cards.as_json(), "files": paths}, "\n".join([cards.methods, *paths]))
    return 0


def runs(arguments: list[str]) -> int:
    """List run folders with state, energy, grams and verdict, and their sums."""
    from lichen.options import RunsOptions

    options = parse(RunsOptions, "runs", arguments)
    from lichen.ledger import as_csv, ledger, totals
    from lichen.words import runs_table

    rows = ledger(options.root, options.year)
    sums = totals(rows, options.by)
    found = {"runs": [dataclasses.asdict(row) for row in rows], "totals": [dataclasses.asdict(part) for part in sums]}
    _show(options.json, found, as_csv(rows).rstrip("\n") if options.csv else runs_table(rows, sums, options.root))
    return 0


def measure(arguments: list[str]) -> int:
    """Measure the energy of any program."""
    from lichen.options import MeasureOptions

    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse(MeasureOptions, "measure", arguments[:split])
    command = arguments[split + 1 :]
    from lichen.measuring import Measurement, measure_command
    from lichen.place import place_of

    measurement = Measurement(" ".join(command[:1]), place_of(options.carbon), options.carbon.pue, trace=options.trace)
    code = measure_command(command, measurement)
    if measurement.problem and not options.json:
        print(f"note: {measurement.problem}", file=sys.stderr)
    print(json.dumps(measurement.as_json(), indent=2) if options.json else measurement, file=sys.stderr)
    return code


def slurm(arguments: list[str]) -> int:
    """Print a batch script for a Slurm cluster."""
    from lichen.options import SlurmOptions

    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse(SlurmOptions, "slurm", arguments[:split])
    from lichen.slurm import Job, batch_script

    _say(batch_script(Job(**dataclasses.asdict(options)), arguments[split + 1 :], sys.executable).rstrip("\n"))
    return 0


def init(arguments: list[str]) -> int:
    """Write a file with every setting, its default and its reason."""
    from lichen.options import InitOptions

    options = parse(InitOptions, "init", arguments)
    from lichen.config import ImagesConfig
    from lichen.errors import ConfigError
    from lichen.files import write_text
    from lichen.settings import dump_settings

    if options.path.exists():
        raise ConfigError(f"{options.path} exists already", fix="give another name, e.g. lichen init mine.yaml")
    images = ImagesConfig(path=options.images, phantoms=options.phantoms)
    preset = _preset(options.preset, images)
    images = dataclasses.replace(preset.images, path=options.images, phantoms=options.phantoms)
    write_text(options.path, dump_settings(dataclasses.replace(preset, images=images), comments=True))
    _say(f"wrote {options.path}\nnext:  lichen run --config {shlex.quote(str(options.path))}")
    return 0


def doctor(arguments: list[str]) -> int:
    """Say what each meter, device and optional package can do here, and why not."""
    from lichen.options import DoctorOptions

    options = parse(DoctorOptions, "doctor", arguments)
    from lichen.doctor import examine, in_lines

    findings = examine()
    _show(options.json, [dataclasses.asdict(finding) for finding in findings], in_lines(findings))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "init": init,
    "images": images,
    "run": run,
    "train": train,
    "sample": sample,
    "audit": audit,
    "report": report,
    "predict": predict,
    "whatif": whatif,
    "card": card,
    "runs": runs,
    "measure": measure,
    "slurm": slurm,
    "doctor": doctor,
}


def _overview() -> str:
    commands = "\n".join(f"  {name:<8} {(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    return (
        f"lichen {__version__}: train generative models of medical images, know what they cost,\n"
        "and whose images are in the output.\n\n"
        f"usage: lichen COMMAND [options]\n\n{commands}\n\n"
        "lichen COMMAND --help lists the options.\n"
        "Exit codes: 0 ok, 1 verdict failed, 2 error, 3 inconclusive, 4 a budget does not allow it.\n"
        "First steps: lichen run --preset demo, or the same with --images.path DIR for your own images."
    )


def _unknown(name: str) -> LichenError:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return LichenError(
        f"there is no command {name!r}", fix=f"did you mean lichen {near[0]}?" if near else "see lichen --help"
    )


def _settings(options: type[S], arguments: list[str], name: str) -> tuple[S, RunConfig]:
    """The options of a command that takes all settings: preset, then YAML file, then command line.

    Which preset applies depends on the images, and which images on file and command line: so the command line is read
    once for the file, once for the images, and once for all.
    """
    from lichen.config import RunConfig
    from lichen.settings import load_settings

    def parsed(config: RunConfig) -> S:
        sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)}
        return parse(options, name, arguments, default=options(**sections))

    def in_file(base: RunConfig) -> RunConfig:
        return base if file is None else load_settings(file, base)

    first = parsed(RunConfig())
    file: Path | None = first.config
    images = parsed(in_file(RunConfig())).images
    found = parsed(in_file(_preset(first.preset, images)))
    return found, RunConfig(**{field.name: getattr(found, field.name) for field in dataclasses.fields(RunConfig)})


def _preset(name: PresetName, images: ImagesConfig) -> RunConfig:
    from lichen.presets import load_preset

    if images.path is None:
        return load_preset(name, int(images.phantoms[0]))
    from lichen.images import open_source

    return load_preset(name, open_source(images).spatial_dims)


def _stored_settings(run: Path) -> RunConfig | None:
    """The settings in the run folder ``run``; None if it is none."""
    from lichen.config import RunConfig
    from lichen.runs import RunFolder
    from lichen.settings import load_settings

    path = RunFolder(run).config
    return load_settings(path, RunConfig()) if path.is_file() else None


def _who() -> str:
    """Which process of a job speaks, unless it is the only one or the first."""
    rank = os.environ.get("RANK", "0")
    return "" if rank == "0" else f"process {rank}: "


def _command(name: str, arguments: list[str]) -> str:
    return shlex.join(["lichen", name, *arguments])


def _show(as_json: bool, value: Any, words: str) -> None:
    _say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) if as_json else words)


def _say(words: str) -> None:
    """Print; a reader who has seen enough (head, less) changes no exit code."""
    try:
        print(words, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (until the end of the process)
