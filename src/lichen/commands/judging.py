"""What came out: audit, report, runs."""

from __future__ import annotations

import dataclasses

from lichen.arguments import parse
from lichen.commands.common import show, stored_settings
from lichen.team import joined


def audit(arguments: list[str]) -> int:
    """Say whether synthetic images are copies of training patients."""
    from lichen.options import AuditOptions

    options = parse(AuditOptions, "audit", arguments)
    from lichen.audit import open_names, summary, write_audit
    from lichen.chain import audit_folders, audit_with_run, holding
    from lichen.config import RunConfig
    from lichen.errors import ConfigError
    from lichen.report import write_audit_report
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
            result, inputs = audit_with_run(stored, options.synthetic, options.audit, options.out, watch)
        elif options.train is not None and options.reference is not None:
            result, inputs = audit_folders(options, options.train, options.reference, watch)
        else:
            raise ConfigError(
                "an audit needs the training images and real images of other patients",
                fix="give --train DIR and --reference DIR, or --run RUN for those of a run folder",
            )
        if not team.leads:
            return 0
        written = write_audit(result, options.out / "audit.json", inputs_sha256=inputs)
        page = write_audit_report(options.out / "audit.json")
    words = f"{summary(result, open_names(options.out))}\nfiles       {options.out / 'audit.json'}, {page}"
    show(options.json, written, words)
    return result.exit_code


def report(arguments: list[str]) -> int:
    """Write report.html of a run folder anew."""
    from lichen.options import ReportOptions

    options = parse(ReportOptions, "report", arguments)
    stored = stored_settings(options.run)
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
    show(options.json, {"report": str(path), "summary": summary}, lines)
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
    show(options.json, found, as_csv(rows).rstrip("\n") if options.csv else runs_table(rows, sums, options.root))
    return 0
