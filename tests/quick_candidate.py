"""A candidate without a network, for tests of what surrounds it: a run folder, an energy trace, and a Dice at its end.

Usage: quick_candidate.py SETTINGS OUT
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from lichen.config import SegmentationConfig
from lichen.energy import Trace, find_meters, read_sessions, read_traces, trace_name
from lichen.runs import RunFolder, read_lines
from lichen.settings import dump_settings, load_settings
from lichen.stopping import Stopped, listening
from lichen.summary import energy_summary

STEPS = 20


def dice_of(width: int) -> float:
    """More is better, and less and less."""
    return 0.9 - 0.5 / width


def train(settings: Path, out: Path) -> None:
    config, folder = load_settings(settings, SegmentationConfig()), RunFolder(out)
    dice = dice_of(config.segmenter.width)
    with listening(), folder.lock(), Trace(out / trace_name(), find_meters(whole_machine=False)) as trace:
        folder.write_config(dump_settings(config))
        with trace.phase("segmenter"):
            for step in range(len(read_lines(folder.log)), STEPS):
                until_s = time.process_time() + 0.01
                while time.process_time() < until_s:  # the meter counts what the processor does
                    math.sqrt(2.0)
                time.sleep(0.02)
                record = {"images_seen": step + 1, "validation_dice": dice * (step + 1) / STEPS}
                folder.append_log({"phase": "segmenter", **record, "spent_j": trace.so_far().energy_j or 0.0})
    energy = energy_summary(read_traces(folder.traces), read_sessions(folder.traces))
    folder.write_summary(summary(config, "finished", dice, energy))


def summary(config: SegmentationConfig, state: str, dice: float, energy: dict[str, object]) -> dict[str, object]:
    """As ``lichen segment`` writes it, as far as a search reads it."""
    return {
        "state": state,
        "model": {"parameters": 1000 * config.segmenter.width},
        "segmentation": {
            "dice": {"estimate": dice, "low": None, "high": None, "n": 1},
            "images_seen": STEPS,
            "planned_images_seen": STEPS,
            "training_flop": 1e6,
        },
        "energy": energy,
    }


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]), Path(sys.argv[2]))
    except Stopped:
        sys.exit(0)
