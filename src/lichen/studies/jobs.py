"""One cell as a process of its own: the command that makes it, and whether that is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lichen.audit.result import EXIT_CODES
from lichen.config import CarbonConfig, RunConfig
from lichen.errors import RunError
from lichen.files import write_json, write_text
from lichen.runs import RunFolder
from lichen.settings import dump_settings, load_settings
from lichen.studies.cells import Cell
from lichen.studies.definition import Kind

LAST_WORDS = 2
"""Lines of a failed run's output that are repeated; all of them are in its log."""


@dataclass(frozen=True)
class Job:
    """The work of one cell in the folder of a study."""

    cell: Cell
    kind: Kind
    home: Path
    """The folder of the study."""

    @property
    def folder(self) -> RunFolder:
        """Where the run is, or its forecast."""
        return RunFolder(self.home / "runs" / self.cell.name)

    @property
    def forecast(self) -> Path:
        """What was forecast, for a study of forecasts."""
        return self.folder.path / "forecast.json"

    @property
    def settings(self) -> Path:
        """All settings of the run, as it is given them."""
        return self.home / "settings" / f"{self.cell.name}.yaml"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.home / "logs" / f"{self.cell.name}.txt"

    def is_finished(self) -> bool:
        """Whether there is nothing left to do.

        Raises:
            RunError: what is there was made with other settings, or cannot be read.
        """
        if self.kind == "forecast":
            done = self.forecast.exists()
        else:
            summary = self.folder.read_summary()
            done = summary is not None and summary.get("state") == "finished"
        if not (done and self.settings.exists()):
            return False
        if _comparable(load_settings(self.settings, RunConfig())) != _comparable(self.cell.config):
            raise RunError(
                f"{self.folder.path} was made with other settings than the study now has",
                fix="choose another folder with --out, or delete that run",
            )
        return True

    def start(self, threads: int) -> Started:
        """Begin, or go on; ``threads`` are this process's share of the cores.

        Raises:
            RunError: another process works on a forecast; a run finds that out by itself.
        """
        held = ExitStack()
        if self.kind == "forecast":
            held.enter_context(self.folder.lock())
        write_text(self.settings, dump_settings(self.cell.config))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, threads // self.cell.processes))}
        with self.log.open("ab") as log:
            out = log if self.kind == "runs" else subprocess.PIPE
            process = subprocess.Popen(self._command(), stdout=out, stderr=log, env=environment)
        return Started(self, process, held)

    def last_words(self) -> str:
        """The end of what the run said."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return " ".join(line.strip() for line in lines[-LAST_WORDS:]) or "it said nothing"

    def _command(self) -> list[str]:
        if self.kind == "forecast":
            words = ["predict", "--config", str(self.settings), "--json"]
        else:
            words = ["run", "--config", str(self.settings), "--out", str(self.folder.path)]
        if self.cell.processes == 1:
            return [sys.executable, "-m", "lichen", *words, "--quiet"]
        team = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.cell.processes}"]
        return [sys.executable, *team, "-m", "lichen", "--", *words, "--quiet"]


@dataclass(frozen=True)
class Started:
    """A cell that is being worked on."""

    job: Job
    process: subprocess.Popen[bytes]
    held: ExitStack
    """The lock of the folder, if the process does not hold it itself."""

    def ended(self, timeout_s: float) -> int | None:
        """Its exit code, None while it works; a forecast is kept when it ends well."""
        try:
            out, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None
        code = self.process.returncode
        if self.job.kind == "forecast" and code == 0:
            write_json(self.job.forecast, json.loads(out))
        self.held.close()
        return code

    def stop(self) -> None:
        """Ask it to save and end, and wait until it has."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()
        self.held.close()


def said_its_verdict(code: int) -> bool:
    """Whether a run came to its end, whatever its audit says."""
    return code in EXIT_CODES.values()


def is_busy(job: Job) -> bool:
    """Whether another process works on the cell."""
    return job.folder.is_locked()


def _comparable(config: RunConfig) -> str:
    """Settings as text, but for those that change no figure: where images lie, how fast it goes, at which place."""
    images, training = replace(config.images, path=None, cache_dir=None), replace(config.training, threads=None)
    return dump_settings(replace(config, images=images, training=training, carbon=CarbonConfig()))
