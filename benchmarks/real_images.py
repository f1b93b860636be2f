"""What runs on real images came to: kernel distance, verdict and cost, read from finished run folders.

lichen run --config benchmarks/chest-xray.yaml --images.path DIR --out runs/chest
lichen run --config benchmarks/hippocampus.yaml --images.path DIR --out runs/hippocampus
python benchmarks/real_images.py runs/chest runs/hippocampus
"""

from __future__ import annotations

import argparse
from pathlib import Path

from report import write_results

from lichen.runs import RunFolder

HEADER = (
    "images",
    "trained for, min",
    "distance of samples (error)",
    "training images instead",
    "in units of the largest that real images allow",
    "verdict",
    "energy, Wh (estimated)",
)


def row(folder: RunFolder) -> tuple[str, ...]:
    summary = folder.require_summary()
    minutes = sum(p["duration_s"] for p in summary["energy"]["phases"] if p["phase"] in {"autoencoder", "diffusion"})
    distance = summary["quality"]["kernel_distance"]
    made, real = distance["synthetic"], distance["real"]
    return (
        f"{summary['label']}, {summary['images']['train_patients']} patients",
        f"{minutes / 60:.0f}",
        f"{made['value']:.2f} ({made['standard_error']:.2f})",
        f"{real['value']:.2f} ({real['standard_error']:.2f})",
        "-" if distance["ratio_to_real_high"] is None else f"{distance['ratio_to_real_high']:.1f}",
        f"{summary['audit']['verdict']}, {summary['audit']['copies']} of {summary['audit']['tested']} flagged",
        f"{summary['energy']['total']['energy_j'] / 3600:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    rows = [row(RunFolder(path)) for path in parser.parse_args().runs]
    note = (
        "One thread each, side by side with other work, so minutes are of a busy machine. Features: random-conv-v1.\n"
        "By eye (contact sheets, not kept here): the chests have outline, lungs with ribs, heart and spine in place,\n"
        "and are softer than real ones; so are the autoencoder's reconstructions. The hippocampus volumes have\n"
        "hippocampus, ventricle and white matter in all three planes, less detail than real ones."
    )
    write_results(__file__, HEADER, rows, note)


if __name__ == "__main__":
    main()
