"""One run folder: where each file is, and how it is written and read.

config.yaml   log.jsonl   energy-<host>-<rank>.jsonl   summary.json   checkpoints/   samples/   audit/   report.html
cards/
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lichen.errors import RunError
from lichen.files import make_folder, partial_files, write_json, write_text
from lichen.runs.log import append_line


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; the properties name its files, the methods write and read them."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings of the run."""
        return self.path / "config.yaml"

    @property
    def summary(self) -> Path:
        """What came out, as JSON."""
        return self.path / "summary.json"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses and rates while training."""
        return self.path / "log.jsonl"

    @property
    def images(self) -> Path:
        """The SHA-256 of the images that its weights were trained on."""
        return self.path / "checkpoints" / "images.sha256"

    @property
    def checkpoints(self) -> Path:
        """Weights and training state."""
        return self.path / "checkpoints"

    @property
    def generator(self) -> Path:
        """The finished generator."""
        return self.checkpoints / "generator.safetensors"

    @property
    def segmenter(self) -> Path:
        """The finished segmenter."""
        return self.checkpoints / "segmenter.safetensors"

    def training_state(self, phase: str) -> Path:
        """What the training of ``phase`` goes on from."""
        return self.checkpoints / f"{phase}.state.safetensors"

    @property
    def forecasts(self) -> Path:
        """What the work was expected to take, one JSON object a line."""
        return self.path / "forecasts.jsonl"

    @property
    def samples(self) -> Path:
        """Synthetic images and their sidecars."""
        return self.path / "samples"

    @property
    def audit(self) -> Path:
        """The audit's findings."""
        return self.path / "audit" / "audit.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def cards(self) -> Path:
        """What it cost, in other people's forms."""
        return self.path / "cards"

    @property
    def traces(self) -> tuple[Path, ...]:
        """The energy traces of every process that worked in this folder."""
        return tuple(sorted(self.path.glob("energy-*.jsonl")))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; a second one gets a ``RunError`` at once.

        The lock belongs to the open file, so the system lets go of it however the process ends.
        """
        try:
            make_folder(self.path)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror})", fix="choose another folder with --out"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"another process is working in {self.path}",
                fix="wait for it, or choose another folder with --out",
            ) from error
        else:
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a process on this machine, or on one that shares its locks, works in the folder now."""
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def clear_partial(self) -> None:
        """Delete what killed processes left half written; only for who holds the lock."""
        for folder in (self.path, self.checkpoints, self.samples, self.audit.parent):
            for path in partial_files(folder):
                path.unlink(missing_ok=True)

    def write_config(self, text: str) -> None:
        """Keep the settings as YAML text."""
        write_text(self.config, text)

    def append_log(self, record: Mapping[str, float | int | str]) -> None:
        """Add one line to the log; raises RunError if the folder is gone."""
        append_line(self.log, {"time": now(), **record})

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the summary."""
        write_json(self.summary, summary)

    def require_summary(self) -> dict[str, Any]:
        """The summary; a ``RunError`` where there is none."""
        summary = self.read_summary()
        if summary is None:
            state = "does not exist"
            if self.path.exists():
                state = "holds no finished run" if self.path.is_dir() else "is a file, and not a run folder"
            raise RunError(f"{self.path} {state}", fix="repeat its lichen run command, or give another folder")
        return summary

    @contextmanager
    def summary_in_use(self) -> Iterator[None]:
        """Whoever works on the summary inside gets a ``RunError`` where it lacks something or holds an odd value."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise RunError(
                f"{self.summary} is damaged ({type(error).__name__}: {error})",
                fix="repeat the command of the run; it is written anew",
            ) from error

    def read_summary(self) -> dict[str, Any] | None:
        """The summary, or None where the run has none yet."""
        try:
            found = json.loads(self.summary.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.summary} cannot be read ({error})",
                fix="repeat the command of the run; it is written anew",
            ) from error
        return found if isinstance(found, dict) else None


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
