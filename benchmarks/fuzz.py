"""Damaged files of every format, thousands of them: each is read, or refused in one line that names it and a fix.

A case takes a good file, damages it in a way that its number decides, and has lichen read it in a worker process. It
fails if lichen raises anything but a ``LichenError`` of one line with a fix, takes more than 10 s, or needs more than
2 GB. Failures are kept with their numbers; ``--replay NUMBER`` makes one again.

    python benchmarks/fuzz.py [--cases 10000] [--data ../shared/data] [--replay NUMBER]
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from report import write_results

LIMIT_S = 10.0
LIMIT_BYTES = 2 * 2**30
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """Good files of one kind, and how lichen reads one."""

    name: str
    files: tuple[Path, ...]
    read: Read
    beside: tuple[str, bytes] | None = None
    """A file that has to lie beside it."""


# how lichen reads a file of each kind


def read_folder(path: Path) -> object:
    """Everything in the folder of ``path``, as a run would."""
    from lichen.images import load_set, open_folder

    source = open_folder(path.parent)
    return load_set(source.items, (16,) * source.spatial_dims)


def read_npz(path: Path) -> object:
    """All images of an archive."""
    from lichen.images import load_set, open_folder

    source = open_folder(path)
    return load_set(source.items, (16,) * source.spatial_dims)


def read_settings(path: Path) -> object:
    """A file of settings."""
    from lichen.config import RunConfig
    from lichen.settings import load_settings

    return load_settings(path, RunConfig())


def read_generator(path: Path) -> object:
    """A generator, ready to draw."""
    import torch

    from lichen.training.generator import load_generator

    return load_generator(path, torch.device("cpu"))


def read_run(path: Path) -> object:
    """The table of runs and the report of the run folder that ``path`` lies in."""
    from lichen.ledger import ledger
    from lichen.report import write_report
    from lichen.runs import read_log

    home = path.parent if path.name != "audit.json" else path.parent.parent
    read_log(home / "log.jsonl")
    return ledger(home), write_report(home)


# good files


def make_run(folder: Path) -> Path:
    """A finished run on phantoms."""
    from lichen.cli import main as lichen

    tiny = Path(__file__).resolve().parents[1] / "tests/tiny.yaml"
    few = ["--autoencoder.images-seen", "32", "--training.images-seen", "32", "--sampling.count", "2"]
    try:
        lichen(["run", "--config", str(tiny), *few, "--quiet", "--out", str(folder)])
    except SystemExit:
        return folder
    raise AssertionError


def make_pictures(folder: Path) -> None:
    """One small picture of each kind."""
    import numpy as np
    import PIL.Image

    folder.mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 2**16, (24, 20)).astype(np.uint16)
    for suffix in ("png", "tif"):
        PIL.Image.fromarray(values).save(folder / f"deep.{suffix}")
    for suffix in ("png", "jpg", "tif"):
        PIL.Image.fromarray((values >> 8).astype(np.uint8)).save(folder / f"flat.{suffix}")
    np.savez_compressed(folder / "set.npz", train_images=(values >> 8).astype(np.uint8)[None].repeat(4, 0))


def first(folder: Path, pattern: str, most: int = 3) -> tuple[Path, ...]:
    """A few files."""
    return tuple(sorted(path for path in folder.rglob(pattern) if path.is_file())[:most])


def formats(data: Path, scratch: Path) -> tuple[Format, ...]:
    """All kinds of files that lichen reads."""
    make_pictures(scratch / "pictures")
    run = make_run(scratch / "run")
    table = b"file,patient\nx.png,P1\ny.png,P2\n"
    (scratch / "table").mkdir()
    (scratch / "table/metadata.csv").write_bytes(table)
    (scratch / "table/participants.tsv").write_bytes(table.replace(b",", b"\t"))
    picture = ("x.png", (scratch / "pictures/flat.png").read_bytes())
    made = scratch / "pictures"
    known = (
        Format("NIfTI", first(data / "mri-hippocampus/images", "*.nii.gz"), read_folder),
        Format("PNG", (*first(made, "*.png"), *first(data / "chest-xray-pediatric/images", "*.png", 1)), read_folder),
        Format("JPEG", (*first(made, "*.jpg"), *first(data / "chest-xray-pediatric/images", "*.jp*g", 1)), read_folder),
        Format("TIFF", first(made, "*.tif"), read_folder),
        Format("npz", first(made, "*.npz"), read_npz),
        Format("DICOM", (*first(data / "dicom-series", "*.dcm", 60)[::6],), read_folder),
        Format("table of patients", first(scratch / "table", "*.*"), read_folder, picture),
        Format("settings", (run / "config.yaml",), read_settings),
        Format("generator", (run / "checkpoints/generator.safetensors",), read_generator),
        Format("summary", (run / "summary.json",), read_run),
        Format("audit", (run / "audit/audit.json",), read_run),
        Format("log", (run / "log.jsonl",), read_run),
        Format("energy trace", first(run, "energy-*.jsonl", 1), read_run),
        Format("sidecar", first(run / "samples", "*.json", 1), read_run),
    )
    return tuple(kind for kind in known if kind.files)


# damage


def damaged(good: bytes, chance: random.Random) -> bytes:
    """``good`` with one to three kinds of damage."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 3)):
        DAMAGES[chance.randrange(len(DAMAGES))](data, chance)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Half of all damage goes to the first bytes, where headers are."""
    return chance.randrange(min(len(data), 512) if chance.random() < 0.5 else len(data)) if data else 0


def flip_bits(data: bytearray, chance: random.Random) -> None:
    """Change up to eight bits."""
    for _ in range(chance.randint(1, 8) if data else 0):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    """End early, or empty."""
    del data[chance.choice([0, _place(data, chance), len(data) // 2, max(len(data) - 1, 0)]) :]


def blank(data: bytearray, chance: random.Random) -> None:
    """Overwrite a stretch with zeros or ones."""
    start = _place(data, chance)
    stop = min(len(data), start + chance.randint(1, 64))
    data[start:stop] = bytes([chance.choice([0, 255])]) * (stop - start)


def extreme(data: bytearray, chance: random.Random) -> None:
    """Write a number that a size or an offset should not have."""
    form = chance.choice(["<h", ">h", "<i", ">i", "<q", "<f", "<d"])
    values: list[float] = [0, -1, 1, 2**15 - 1, -(2**15)]
    if form not in {"<h", ">h"}:
        values += [2**31 - 1, -(2**31), 2**24]
    if form in {"<f", "<d"}:
        values += [float("nan"), float("inf"), 1e30]
    value = chance.choice(values)
    packed = struct.pack(form, value if form in {"<f", "<d"} else int(value))
    start = _place(data, chance)
    data[start : start + len(packed)] = packed


def insert(data: bytearray, chance: random.Random) -> None:
    """Put in bytes of noise, or what means something in text."""
    words = [
        chance.randbytes(chance.randint(1, 40)),
        b"\n",
        b",,,",
        b'"',
        b"{",
        b"[" * 200,
        b"!!python/object:os.system",
    ]
    words += [b"\x00", b"NaN", b"-1e999", b"../../etc/passwd", b"\xff\xfe", b": &a *a", b"9" * 400]
    start = _place(data, chance)
    data[start:start] = chance.choice(words)


def repeat(data: bytearray, chance: random.Random) -> None:
    """Say something twice."""
    start = _place(data, chance)
    part = bytes(data[start : start + chance.randint(1, 2000)])
    data[start:start] = part


DAMAGES = (flip_bits, cut, blank, extreme, insert, repeat)


# cases


def verdict(kind: Format, path: Path) -> tuple[str, str]:
    """("read" | "refused" | "failed", why)."""
    from lichen.errors import LichenError

    try:
        kind.read(path)
    except LichenError as error:
        one_line = "\n" not in error.problem and error.problem and error.fix and "\n" not in error.fix
        return ("refused", "") if one_line else ("failed", f"not one line: {error!r}")
    except (Exception, RecursionError):  # noqa: BLE001 (this is what is looked for)
        return "failed", traceback.format_exc()
    return "read", ""


def case(number: int, kinds: tuple[Format, ...], folder: Path) -> tuple[Format, Path]:
    """Write the damaged file of case ``number`` into the empty ``folder``."""
    chance = random.Random(number)
    kind = kinds[number % len(kinds)]
    good = chance.choice(kind.files)
    if kind.read is read_run:  # it is read within its folder
        home = good.parent if good.parent.name not in {"audit", "samples"} else good.parent.parent
        for path in home.rglob("*"):
            if path.is_file() and path.suffix != ".safetensors" and not path.name.startswith("."):
                copy = folder / path.relative_to(home)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        target = folder / good.relative_to(home)
    else:
        target = folder / good.name
    target.write_bytes(damaged(good.read_bytes(), chance))
    if kind.beside is not None:
        name, content = kind.beside
        (folder / name).write_bytes(content)
    return kind, target


def work(pipe: Connection, kinds: tuple[Format, ...]) -> None:
    """A worker: is sent numbers, and answers with (verdict, why, most bytes ever in use)."""
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        number = pipe.recv()
        with tempfile.TemporaryDirectory() as folder:
            kind, path = case(number, kinds, Path(folder))
            found, why = verdict(kind, path)
        pipe.send((found, why, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def outcomes(numbers: Iterator[int], kinds: tuple[Format, ...]) -> Iterator[tuple[int, str, str]]:
    """(number, verdict, why) of each case; a worker that hangs or grows is a failure, and replaced."""
    pipe, process, baseline = _worker(kinds)
    for number in numbers:
        pipe.send(number)
        if not pipe.poll(LIMIT_S):
            process.kill()
            yield number, "failed", f"no answer after {LIMIT_S:g} s"
            pipe, process, baseline = _worker(kinds)
            continue
        try:
            found, why, most = pipe.recv()
        except EOFError:
            yield number, "failed", "the process died"
            pipe, process, baseline = _worker(kinds)
            continue
        if baseline is None:
            baseline = most
        if most - baseline > LIMIT_BYTES:
            found, why = "failed", f"{(most - baseline) / 2**30:.1f} GB"
            process.kill()
            pipe, process, baseline = _worker(kinds)
        yield number, found, why
    process.kill()


def _worker(kinds: tuple[Format, ...]) -> tuple[Connection, multiprocessing.process.BaseProcess, int | None]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=work, args=(theirs, kinds), daemon=True)
    process.start()
    theirs.close()
    return ours, process, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--replay", type=int, help="make one case again, and print what became of it")
    parser.add_argument("--check", action="store_true", help="write no results; fail if a case does")
    arguments = parser.parse_args()
    os.environ.setdefault("LICHEN_PSEUDONYM_KEY", "0" * 64)
    with tempfile.TemporaryDirectory() as scratch:
        kinds = formats(arguments.data, Path(scratch))
        numbers = [arguments.replay] if arguments.replay is not None else range(arguments.cases)
        counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        start = time.monotonic()
        for number, found, why in outcomes(iter(numbers), kinds):
            counts[kinds[number % len(kinds)].name][found] += 1
            if found == "failed" or arguments.replay is not None:
                print(f"case {number}, {kinds[number % len(kinds)].name}: {found}\n{why}", flush=True)
            if number % 1000 == 999:
                print(f"{number + 1} cases, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    failed = sum(count["failed"] for count in counts.values())
    if arguments.check:
        print(f"{sum(count.total() for count in counts.values())} cases, {failed} failed")
        sys.exit(failed > 0)
    if arguments.replay is None:
        rows = [(name, *(str(count[one]) for one in ("read", "refused", "failed"))) for name, count in counts.items()]
        note = f"{arguments.cases} cases: {failed} failed (a traceback, {LIMIT_S:g} s, or {LIMIT_BYTES / 2**30:g} GB)."
        write_results(__file__, ("format", "read", "refused", "failed"), rows, note)


if __name__ == "__main__":
    main()
