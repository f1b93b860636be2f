"""What came out: audit, quality, report, runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lichen.arguments import parse
from lichen.commands.common import settings_of_run, show, stored_settings
from lichen.errors import RunError
from lichen.team import joined


def audit(arguments: list[str]) -> int:
    """Say whether synthetic images are copies of training patients."""
    from lichen.options import AuditOptions

    options = parse(AuditOptions, "audit", arguments)
    stored = None if options.run is None else settings_of_run(options.run)
    if stored is not None:  # what the run said is the default
        default = AuditOptions(options.synthetic, options.out, audit=stored.audit, carbon=stored.carbon)
        options = parse(AuditOptions, "audit", arguments, default)
    from lichen.audit import open_names, summary, write_audit
    from lichen.audit.reviewed import agreement, as_json, audit_digest, check_marks, read_marks, words
    from lichen.audit.summary import membership_words
    from lichen.chain import at_work, audit_folders, audit_with_run, holding, membership_of_run
    from lichen.chain.auditing import check_out
    from lichen.chain.membership import check_model
    from lichen.chain.reviewing import make_review
    from lichen.config import TrainingConfig
    from lichen.report import write_audit_report
    from lichen.report.niivue import niivue_script
    from lichen.runs import RunFolder
    from lichen.stored import generator_settings
    from lichen.watch import watching

    # what cannot be had is said before the audit, and not after it
    check_out(options)
    niivue = niivue_script() if options.review and options.viewer else None
    if options.reviewed is not None:
        check_marks(options.reviewed)
    if options.model is not None:
        check_model(RunFolder(options.model))
    home, path = RunFolder(options.out), options.out / "audit.json"
    with (
        joined() as team,
        holding(home, team),
        at_work(TrainingConfig(device=options.device), team) as device,
        watching(home.path, options.carbon, quiet=options.quiet, team=team) as watch,
    ):
        audited = (
            audit_folders(options, watch)
            if options.run is None
            else audit_with_run(RunFolder(options.run), options, device, watch)
        )
        known = None
        if options.model is not None and team.leads:
            folder = RunFolder(options.model)
            known = membership_of_run(generator_settings(folder), folder, watch, device)
        if not team.leads:
            return 0
        result, reviewed, seen, review = dataclasses.replace(audited.result, membership=known), None, "", None
        if options.reviewed is not None:
            marks = read_marks(options.reviewed, result.findings, audit_digest(result.findings, audited.inputs_sha256))
            agreed = agreement(marks, result.findings)
            reviewed, seen = as_json(marks, agreed), words(marks, agreed)
        written = write_audit(
            result,
            path,
            inputs_sha256=audited.inputs_sha256,
            files_sha256=audited.files_sha256,
            reviewed=reviewed,
        )
        page = write_audit_report(path)
        if options.review:
            most = options.audit.review_pairs
            with watch.phase("review", most) as step:
                review = make_review(audited, options.out, most=most, niivue=niivue, step=step)
    lines = [summary(result, open_names(options.out))]
    if known is not None:
        lines.append(f"membership  {membership_words(known)}")
    if seen:
        lines.append(f"reviewed    {seen}")
    lines.append(f"files       {path}, {page}")
    if review:
        lines.append(f"review      {review} CONTAINS PATIENT IMAGES")
    show(options.json, written, "\n".join(lines))
    return result.exit_code


def quality(arguments: list[str]) -> int:
    """Say how good a synthetic set is, beside real images among themselves."""
    from lichen.options import QualityOptions

    options = parse(QualityOptions, "quality", arguments)
    stored = None if options.run is None else settings_of_run(options.run)
    if stored is not None:  # what the run said is the default
        options = parse(QualityOptions, "quality", arguments, QualityOptions(run=options.run, carbon=stored.carbon))
    from lichen.chain import at_work, compare_folders, compare_with_run, holding
    from lichen.chain.comparing import brought_by
    from lichen.config import TrainingConfig
    from lichen.report import write_quality_report
    from lichen.runs import RunFolder
    from lichen.team import ALONE
    from lichen.watch import watching
    from lichen.words import quality_lines

    folder = options.out or (options.run or Path()) / "quality"
    # as with samples: what is kept in a run folder is traced there, what has a folder of its own, in that
    home = RunFolder(options.run if options.run is not None and options.out is None else folder)
    with at_work(TrainingConfig(device=options.device), ALONE) as device:
        brought = brought_by(options, device)
        with holding(home, ALONE), watching(home.path, options.carbon, quiet=options.quiet) as watch:
            found = (
                compare_folders(options, brought, device, watch)
                if options.run is None
                else compare_with_run(RunFolder(options.run), options, brought, device, watch)
            )
            cost = watch.grams_spent()
    path = folder / "quality.json"
    written = found.write(path)
    page = write_quality_report(path)
    show(options.json, written, quality_lines(written, f"{path}, {page}", cost))
    return 0


def report(arguments: list[str]) -> int:
    """Write report.html of a run folder anew."""
    from lichen.options import ReportOptions

    options = parse(ReportOptions, "report", arguments)
    if (options.run / "search.json").is_file():
        raise RunError(
            f"{options.run} holds a search, not a run",
            fix="repeat its lichen select command: what is finished is left alone, and its report is written anew",
        )
    stored = stored_settings(options.run)
    if stored is not None:
        options = parse(ReportOptions, "report", arguments, ReportOptions(options.run, carbon=stored.carbon))
    from lichen.report import write_report
    from lichen.runs import RunFolder
    from lichen.summary import is_segmentation, with_carbon
    from lichen.words import in_ten_lines, segmentation_lines

    folder = RunFolder(options.run)
    with folder.summary_in_use():
        summary = with_carbon(folder.require_summary(), options.carbon)
        in_words = segmentation_lines if is_segmentation(summary) else in_ten_lines
        lines = in_words(summary, folder.path)
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
