"""A recorded search played again under several policies: what each would have spent, and what it would have taken.

Every candidate of the recording was trained to its end. A policy sees of each what a search would see at that moment;
regret is how much worse its settings are than the best, by what was found on images that chose nothing, seeds averaged.
Once over each seed alone and once over the whole grid.

    python benchmarks/selection_replay.py candidates.json [--forecasts FILE] [--direction higher] [--made N]

A recording is the ``candidates.json`` of ``lichen select --exhaustive``, with the forecast of each candidate from
before its training; docs/studies/volumes has one. ``--forecasts``: others instead, a JSON object, name of candidate
to a range (``low``, ``estimate``, ``high``) in joules. Without any a forecast is the measured cost, wrong by a factor
drawn with a spread of 10 %, and the results say so. ``--made N``: N made-up families of each kind, with one seed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from report import write_results

from lichen.carbon import Range
from lichen.carbon.words import number
from lichen.seeds import mix_seed
from lichen.selection.policy import Policy, decide, exhaust
from lichen.selection.recording import from_json
from lichen.selection.replay import Played, Recorded, at_random, cheapest_first, replay, successive_halving, worths
from lichen.selection.types import Candidate, Direction, Limits

CHECKOUT = Path(__file__).resolve().parents[1]
AIM = 0.35
"""The share of the grid's energy that a search may take, and what the blind baselines are given."""
SPREAD = 0.1
"""Of made-up forecasts around the measured cost, as a factor."""
PROBE = 0.01
"""What a probe takes of a training, where nothing says it."""


@dataclass(frozen=True)
class Game:
    """Candidates to play over."""

    recorded: Sequence[Recorded]
    worth: Mapping[tuple[tuple[str, float | str], ...], float]


def recorded(candidates: Sequence[Candidate], forecasts: Mapping[str, Mapping[str, float]]) -> list[Recorded]:
    """Finished candidates with their forecasts: of ``forecasts``, of their own recording, or made up."""
    made = []
    for one in candidates:
        if one.state != "finished" or one.training_j is None or not one.curve or one.found is None:
            continue
        off = float(np.exp(SPREAD * np.random.default_rng(mix_seed("forecast", one.name)).standard_normal()))
        cost = one.training_j
        middle_j = (cost.low + cost.high) / 2 if cost.estimate is None else cost.estimate
        guess = Range(cost.low * off * (1 - SPREAD), middle_j * off, cost.high * off * (1 + SPREAD))
        known = Range(**forecasts[one.name]) if one.name in forecasts else one.forecast_j
        made.append(Recorded(one, known or guess, PROBE * middle_j))
    return made


def policies(game: Sequence[Recorded], seed: int) -> dict[str, tuple[Policy, Limits, int]]:
    """Each policy with its limits and places."""
    grid_j = sum(one.whole.training_j.estimate or one.whole.training_j.high for one in game if one.whole.training_j)
    some = Limits(search_j=AIM * grid_j)
    return {
        "decide": (decide, Limits(), 1),
        "train all": (exhaust, Limits(), 1),
        f"cheapest first, {AIM:.0%}": (cheapest_first, some, 1),
        f"at random, {AIM:.0%}": (at_random(seed), some, 1),
        "successive halving": (successive_halving(), Limits(), len(game)),
    }


def played(games: Sequence[Game], direction: Direction) -> dict[str, list[Played]]:
    """What every policy did in every game."""
    found: dict[str, list[Played]] = {}
    for turn, game in enumerate(games):
        for name, (policy, limits, places) in policies(game.recorded, turn).items():
            done = replay(game.recorded, policy, direction, limits, places=places, worth=game.worth)
            found.setdefault(name, []).append(done)
    return found


def rows(title: str, games: Sequence[Game], direction: Direction) -> list[Sequence[str]]:
    """A line of the table for each policy."""
    table: list[Sequence[str]] = []
    for name, done in played(games, direction).items():
        regrets = [one.regret for one in done if one.regret is not None]
        mean, worst = (number(float(figure(regrets)), 2) if regrets else "-" for figure in (np.mean, np.max))
        shares = [one.share for one in done]
        none = f"{len(done) - len(regrets)} of {len(done)}"
        table.append((title, name, mean, worst, f"{np.mean(shares):.0%}", f"{np.max(shares):.0%}", none))
    return table


def games_of(candidates: Sequence[Recorded], direction: Direction) -> dict[str, list[Game]]:
    """One game for each seed, and one for the whole grid."""
    worth = worths([one.whole for one in candidates], direction)
    seeds = sorted({one.whole.seed for one in candidates})
    by_seed = [Game([one for one in candidates if one.whole.seed == seed], worth) for seed in seeds]
    return {"one seed": by_seed, f"all {len(seeds)} seeds": [Game(candidates, worth)]}


def made_games(count: int) -> dict[str, list[Game]]:
    """Made-up families, played with one seed and judged by five."""
    sys.path.insert(0, str(CHECKOUT / "tests"))
    from made_searches import KINDS, made_search

    games: dict[str, list[Game]] = {}
    for kind in KINDS:
        for turn in range(count):
            games.setdefault(f"made up: {kind}", []).append(
                games_of(made_search(kind, turn, seeds=5), "higher")["one seed"][0]
            )
    return games


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("candidates", type=Path, nargs="?")
    parser.add_argument("--forecasts", type=Path)
    parser.add_argument("--direction", choices=("higher", "lower"), default="higher")
    parser.add_argument("--made", type=int, default=0)
    parser.add_argument("--of", help="write selection_replay_OF.md, beside the results of another recording")
    arguments = parser.parse_args()
    games: dict[str, list[Game]] = {}
    notes = []
    if arguments.candidates is not None:
        forecasts = json.loads(arguments.forecasts.read_text()) if arguments.forecasts else {}
        found = from_json(json.loads(arguments.candidates.read_text(encoding="utf-8")))
        candidates = recorded(found, forecasts)
        games = games_of(candidates, arguments.direction)
        spreads = [float(np.std(values, ddof=1)) for values in _by_settings(candidates) if len(values) > 1]
        spread = float(np.mean(spreads)) if spreads else math.nan
        notes.append(f"{len(candidates)} of {len(found)} recorded candidates; spread between seeds {spread:.2g}.")
        names = {one.name for one in found if one.forecast_j is not None} | forecasts.keys()
        made_up = sum(one.whole.name not in names for one in candidates)
        notes.append(
            f"{made_up} forecasts are made up, wrong by {SPREAD:.0%}." if made_up else "Forecasts were recorded."
        )
    if arguments.made:
        games |= made_games(arguments.made)
        notes.append(f"{arguments.made} made-up families of each kind.")
    if not games:
        parser.error("name a recording, or a number of families with --made")
    table = [row for title, some in games.items() for row in rows(title, some, arguments.direction)]
    header = ("games", "policy", "regret: mean", "worst", "share of the grid's energy: mean", "worst", "nothing taken")
    notes.append(
        f"Aim: regret within the spread between seeds for at most {AIM:.0%} of the energy. Probes are counted."
    )
    write_results(__file__, header, table, " ".join(notes), of=arguments.of)


def _by_settings(candidates: Sequence[Recorded]) -> list[list[float]]:
    groups: dict[str, list[float]] = {}
    for one in candidates:
        if one.whole.found is not None:
            groups.setdefault(repr(sorted(one.whole.settings.items())), []).append(one.whole.found.quality)
    return list(groups.values())


if __name__ == "__main__":
    main()
