"""Which settings to take: select."""

from __future__ import annotations

from pathlib import Path

from lichen.arguments import parse
from lichen.commands.common import show


def select(arguments: list[str]) -> int:
    """Find the settings to take under a carbon budget."""
    from lichen.options import SelectOptions

    options = parse(SelectOptions, "select", arguments)
    from lichen.searching.reading import read_search
    from lichen.searching.terms import Terms
    from lichen.searching.view import in_words
    from lichen.searching.whole import run_search

    terms = Terms(
        method=options.method,
        trials=options.trials,
        seed=options.seed,
        carbon=options.carbon,
        budget=options.budget,
        search_budget=options.search_budget,
        converge=options.converge,
        exhaustive=options.exhaustive,
        at_once=options.processes,
    )
    search = read_search(options.search, options.method)
    home = options.out or Path("searches") / options.search.stem
    results, failed = run_search(search, options.data, home, terms, quiet=options.quiet)
    show(options.json, results.as_json(), in_words(results, home))
    return 2 if failed else 0
