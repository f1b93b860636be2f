"""The documents tell the truth: their commands run, their settings load, their reference is the code's.

Every ``console`` block of README.md and docs/*.md is executed, in the order in which a reader meets them, in one folder
that looks like a checkout and holds small images made from phantoms. Commands are executed as they stand but for one
thing: what trains (``./demo``, ``lichen run``, ``lichen train``) gets the settings of tests/tiny.yaml besides, by
``--config`` or, where the command has a ``--config`` of its own, as options, and trains on still fewer images, so that
it takes seconds; what is planned (``lichen predict``) is as little. A block of text that begins with the name of a YAML
file is that file.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, get_type_hints

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from dicom_files import write_series
from labelled_images import write_labelled
from lichen import __version__, options
from lichen.audit.result import EXIT_CODES
from lichen.carbon import load_table
from lichen.commands import COMMANDS
from lichen.config import PhantomKind, RunConfig
from lichen.errors import BUDGET_CODE
from lichen.images.phantoms import phantom_image
from lichen.settings import flatten, load_settings
from warm_commands import run_lichen

CHECKOUT = Path(__file__).resolve().parents[1]
TINY = CHECKOUT / "tests" / "tiny.yaml"
TINY_GAN = CHECKOUT / "tests" / "tiny-gan.yaml"
DOCUMENTS = ("README.md", "docs/first-run.md", "docs/how-to.md", "docs/concepts.md", "docs/reference.md")
STILL_LESS = ("--autoencoder.images-seen", "64", "--training.images-seen", "128")
LANGUAGES = {"console", "python", "yaml", "text"}
VERDICT_COMMANDS = {"./demo", "run", "audit", "release"}


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


class Command(NamedTuple):
    """A line of a console block, and the exit codes that it may have."""

    words: list[str]
    codes: set[int]


def text_of(document: str) -> str:
    return (CHECKOUT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    return [
        Block(*found) for found in re.findall(r"^```(\S*)\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL)
    ]


def commands(block: Block) -> Iterator[Command]:
    for line in block.text.splitlines():
        assert line.startswith("$ "), f"a console block holds commands only, not {line!r}"
        words = shlex.split(line.removeprefix("$ "), comments=True)
        gives_verdict = bool(VERDICT_COMMANDS & set(words[:2]))
        stated = re.search(r"# exit code (\d+)$", line)
        yield Command(words, {int(stated[1])} if stated else {0, 1, 3} if gives_verdict else {0})


def affordable(words: list[str]) -> list[str]:
    command = words[words.index("--") + 1] if words[0] == "torchrun" else words[1] if len(words) > 1 else ""
    lichen = Path(words[0]).name in {"lichen", "torchrun"}
    trains = words[0] == "./demo" or (lichen and command in {"run", "train"})
    if lichen and command == "audit":
        return [*words, "--audit.self-test", "2"]
    if lichen and command == "segment":
        return [*words, "--segmenter.width", "2", "--training.images-seen", "64", "--training.threads", "1"]
    if lichen and command == "predict":  # the less work, the shorter it is probed
        return [*words, "--config", str(TINY), "--samples", "10", "--images-seen", "128"]
    if not trains:
        return words
    tiny = TINY_GAN if "stylegan2" in words else TINY
    return [*words, *(tiny_options() if "--config" in words else ("--config", str(tiny))), *STILL_LESS]


def tiny_options() -> Iterator[str]:
    default = dict(flatten(RunConfig()))
    for name, value in flatten(load_settings(TINY, RunConfig())):
        if value != default[name]:
            yield "--" + name.replace("_", "-")
            yield from map(str, value if isinstance(value, tuple) else (value,))


def write_images(folder: Path, kind: PhantomKind, patients: range, scans: int, table: str | None) -> None:
    folder.mkdir()
    rows = []
    for patient in patients:
        for scan in range(scans):
            image = phantom_image(kind, 1, patient, scan)
            name = f"p{patient}-{scan}" + (".png" if kind == "2d" else ".nii.gz")
            rows.append((name, f"p{patient}"))
            if kind == "2d":
                Image.fromarray(np.clip(image.voxels[0] * 40, 0, 65535).astype(np.uint16)).save(folder / name)
            else:
                nib.save(nib.Nifti1Image(image.voxels[0], image.affine), folder / name)
    if table is not None:
        with (folder / table).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if table.endswith(".tsv") else ",").writerows([("file", "patient"), *rows])


@dataclass
class Reader:
    """Somebody who reads the documents one after the other and does what they say, in ``folder``."""

    folder: Path
    failures: dict[str, list[str]]

    def read(self, document: str) -> list[str]:
        """Read up to and including ``document``; what failed in it, in words."""
        for earlier in DOCUMENTS[: DOCUMENTS.index(document) + 1]:
            if earlier not in self.failures:
                self.failures[earlier] = list(self._do(earlier))
        return self.failures[document]

    def _do(self, document: str) -> Iterator[str]:
        for block in blocks(document):
            if block.language == "console":
                for command in commands(block):
                    words = affordable(command.words)
                    by_lichen = Path(words[0]).name == "lichen"
                    yield from self._run(words if by_lichen else ["bash", "-c", shlex.join(words)], command.codes)
            elif block.language == "text" and (name := re.match(r"# ([a-z]+\.yaml)\n", block.text)):
                (self.folder / name[1]).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                yield from self._run([sys.executable, "-c", block.text], {0})

    def _run(self, words: list[str], codes: set[int]) -> Iterator[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        if Path(words[0]).name == "lichen":
            done = run_lichen(words[1:], self.folder, environment, timeout_s=300)
        else:
            done = subprocess.run(
                words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
        if done.returncode not in codes or "Traceback" in done.stderr:
            yield f"{shlex.join(words)}\nexit code {done.returncode}, not {sorted(codes)}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader in a folder that looks like a checkout, with images."""
    if Path(sys.prefix).resolve() != (CHECKOUT / ".venv").resolve():
        pytest.skip("the documents are about the environment that ./setup.sh makes, and this is another one")
    folder = tmp_path_factory.mktemp("reader")
    for name in ("demo", "setup.sh"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(CHECKOUT / name))} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "bin").mkdir()
    for name in ("lichen", "torchrun"):
        (folder / "bin" / name).symlink_to(Path(sys.prefix) / "bin" / name)
    write_images(folder / "scans", "2d", range(12), 2, "metadata.csv")
    write_images(folder / "volumes", "3d", range(20, 30), 1, "participants.tsv")
    write_images(folder / "training", "2d", range(40, 50), 1, "metadata.csv")
    write_labelled(folder / "labelled", patients=6, each=2)
    write_images(folder / "held-out", "2d", range(50, 60), 1, "metadata.csv")
    affine = np.diag([-4.0, -4.0, 4.0, 1.0])
    for patient in range(4):
        values = np.clip(phantom_image("3d", 1, patient, 0).voxels[0] * 40, 0, 65535).astype(np.uint16)
        write_series(folder / "dicom" / f"{patient}", values, affine, PatientID=f"P{patient}")
    write_images(folder / "generated", "2d", range(60, 64), 1, None)
    return Reader(folder, {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_script_of_a_document_runs(document: str, reader: Reader) -> None:
    failures = reader.read(document)
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_in_a_known_language(document: str) -> None:
    fences = len(re.findall(r"^\s*```", text_of(document), re.MULTILINE))
    assert fences == 2 * len(blocks(document)), "a fence is indented or not closed"
    assert {block.language for block in blocks(document)} <= LANGUAGES


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_yaml_block_is_a_file_of_settings(document: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(document)):
        if block.language == "yaml":
            path = tmp_path / f"{number}.yaml"
            path.write_text(block.text, encoding="utf-8")
            assert load_settings(path, RunConfig()) != RunConfig(), "a block that changes nothing shows nothing"


def test_the_reference_is_what_the_script_makes_of_the_code(tmp_path: Path) -> None:
    page = tmp_path / "reference.md"
    script = CHECKOUT / "scripts" / "make_reference.py"
    subprocess.run([sys.executable, script, page], check=True, capture_output=True)
    assert page.read_bytes() == (CHECKOUT / "docs" / "reference.md").read_bytes(), f"run python {script}"


def test_the_reference_has_every_command_option_and_setting() -> None:
    page = text_of("docs/reference.md")
    for name in COMMANDS:
        assert f"### lichen {name}\n" in page
    for setting, _ in flatten(RunConfig()):
        assert f"`--{setting.replace('_', '-')}`" in page
    sections = {field.name for field in fields(RunConfig)}
    for cls in (value for name, value in vars(options).items() if name.endswith("Options")):
        prefix = "images." if cls is options.GridOptions else ""
        hints = get_type_hints(cls, include_extras=True)
        for field in fields(cls):
            own = field.name not in sections or field.name == "images"
            markers = getattr(hints[field.name], "__metadata__", ())
            called = next(filter(None, (getattr(marker, "name", None) for marker in markers)), field.name)
            option = f"`--{prefix}{called.replace('_', '-')}"
            written = (f"{option}`", f"`{field.name.upper()}`", f"{option}.", f"[`--{field.name}.*`]")
            assert any(word in page for word in (written[:3] if own else written[3:])), f"{cls.__name__}.{field.name}"
    for code in (*EXIT_CODES.values(), BUDGET_CODE):
        assert f"| {code} |" in page


def test_the_reference_names_every_file_of_a_run_and_every_field_in_them(reader: Reader) -> None:
    reader.read("docs/how-to.md")
    named = [
        re.compile(re.escape(name).replace("<host>", ".+").replace("<rank>", r"\d+").replace("<index>", r"\d{6}"))
        for name in first_column("## Run folder")
    ]
    found = set()
    for run in (reader.folder / "runs" / name for name in ("first", "volumes", "gan", "segmentation")):
        for path in (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()):
            matches = [pattern for pattern in named if pattern.fullmatch(path)]
            assert matches, f"{path} is not in the reference"
            found.update(matches)
    assert found == set(named), "the reference names a file that no run has"
    run = reader.folder / "runs" / "first"
    sidecar = json.loads((run / "samples" / "sample-000000.json").read_text(encoding="utf-8"))
    assert list(sidecar) == first_column("## Sidecar of a synthetic image")
    audit = json.loads((run / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert list(audit) == first_column("## audit.json")
    assert all(f"`{field}`" in text_of("docs/reference.md") for field in audit["images"][0])


def first_column(heading: str) -> list[str]:
    _, _, after = text_of("docs/reference.md").partition(f"\n{heading}\n")
    return re.findall(r"^\| `([^`]+)` \|", after.partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "CONTRIBUTING.md"])
def test_every_link_to_a_file_of_the_project_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (CHECKOUT / document).parent / name if name else CHECKOUT / document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_every_figure_that_names_a_results_file_stands_in_it(document: str) -> None:
    for paragraph in text_of(document).split("\n\n"):
        names = re.findall(r"benchmarks/[\w.-]+\.md", paragraph)
        results = " ".join((CHECKOUT / name).read_text(encoding="utf-8") for name in names)
        for figure in re.findall(r"\d+\.\d+(?= %)", paragraph) if names else ():
            assert re.search(rf"(?<![\d.]){re.escape(figure)} ?%", results), f"{figure} % is not in {names}"


def test_the_readme_shows_its_picture_and_the_attribution_of_the_carbon_figures() -> None:
    readme = " ".join(text_of("README.md").split())
    assert load_table().attribution in readme
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    with Image.open(CHECKOUT / picture) as image:
        image.verify()
    assert (CHECKOUT / picture).stat().st_size < 150_000


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}] - " in text_of("CHANGELOG.md")
