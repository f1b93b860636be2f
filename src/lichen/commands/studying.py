"""Many runs that answer one question: study."""

from __future__ import annotations

from pathlib import Path

from lichen.arguments import parse
from lichen.commands.common import show


def study(arguments: list[str]) -> int:
    """Run a table of trainings that answers a question, and judge what papers say."""
    from lichen.options import StudyOptions

    options = parse(StudyOptions, "study", arguments)
    from lichen.studies.reading import load_study
    from lichen.studies.view import in_words
    from lichen.studies.whole import run_study

    found = load_study(options.name)
    home = options.out or Path("studies") / f"{found.name}-{options.size}"
    results, failed = run_study(
        found,
        options.size,
        options.folders,
        home,
        options.carbon,
        at_once=options.processes,
        quiet=options.quiet,
    )
    show(options.json, results.as_json(), in_words(results, home))
    return 2 if failed else 0
