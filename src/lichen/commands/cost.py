"""What it will cost, would have cost and did: predict, whatif, card, measure."""

from __future__ import annotations

import json
import sys

from lichen.arguments import parse
from lichen.commands.common import settings_of, show, stored_settings


def predict(arguments: list[str]) -> int:
    """Say what a run would take, before it is run."""
    from lichen.options import PredictOptions

    options, config = settings_of(PredictOptions, arguments, "predict")
    from lichen.chain.predicting import predict as predict_run
    from lichen.team import joined

    if not options.quiet:
        print("timing some real steps; this takes up to a minute", file=sys.stderr)
    with joined() as team:
        found = predict_run(config, options.samples, options.images_seen, team=team)
    if not team.leads:
        return 0
    show(options.json, found.as_json(), str(found))
    warning = found.check_budget()
    if warning is not None and not options.quiet:
        print(f"note: {warning}", file=sys.stderr)
    return 0


def whatif(arguments: list[str]) -> int:
    """Say what a finished run would have cost elsewhere, in another month or with other numbers."""
    from lichen.options import WhatifOptions

    options = parse(WhatifOptions, "whatif", arguments)
    stored = stored_settings(options.run)
    if stored is not None:
        options = parse(WhatifOptions, "whatif", arguments, WhatifOptions(options.run, carbon=stored.carbon))
    from lichen.whatif import what_if_of_run

    found = what_if_of_run(options.run, options.carbon, options.samples, options.steps, options.shared_over)
    if options.chart is not None:
        found.write_chart(options.chart)
    show(options.json, found.as_json(), found.table(all_places=options.places))
    return 0


def card(arguments: list[str]) -> int:
    """Write a run's cost for a model card, codecarbon and a paper."""
    from lichen.options import CardOptions

    options = parse(CardOptions, "card", arguments)
    stored = stored_settings(options.run)
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
    show(options.json, {**cards.as_json(), "files": paths}, "\n".join([cards.methods, *paths]))
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
