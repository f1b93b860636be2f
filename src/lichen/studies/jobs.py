"""One cell as a process of its own: the command that makes it, and whether that is done."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lichen.audit.result import EXIT_CODES
from lichen.config import RunConfig
from lichen.errors import RunError
from lichen.files import write_json, write_text
from lichen.plans import comparable
from lichen.processes import ask_to_end, begin, is_going, last_words, lichen_command
from lichen.runs import RunFolder
from lichen.settings import dump_settings, load_settings
from lichen.studies.cells import Cell
from lichen.studies.definition import Kind


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
        if comparable(load_settings(self.settings, RunConfig())) != comparable(self.cell.config):
            raise RunError(
                f"{self.folder.path} was made with other settings than the study now has",
                fix="choose another folder with --out, or delete that run",
            )
        return True

    def start(self, threads: int) -> Started:
        """Begin, or go on; ``threads`` are this process's share of the cores.

        Raises:
            RunError: another process works on it.
        """
        write_text(self.settings, dump_settings(self.cell.config))
        out = None if self.kind == "runs" else subprocess.PIPE
        process = begin(self._command(), self.log, threads // self.cell.processes, out=out)
        return Started(self, process)

    def last_words(self) -> str:
        """The end of what the run said."""
        return last_words(self.log)

    def _command(self) -> list[str]:
        if self.kind == "forecast":
            words = ["predict", "--config", str(self.settings), "--json"]
        else:
            words = ["run", "--config", str(self.settings), "--out", str(self.folder.path)]
        return lichen_command([*words, "--quiet"], self.cell.processes)


@dataclass(frozen=True)
class Started:
    """A cell that is being worked on."""

    job: Job
    process: subprocess.Popen[bytes]

    def ended(self, timeout_s: float) -> int | None:
        """Its exit code, None while it works; a forecast is kept when it ends well."""
        try:
            out, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None
        code = self.process.returncode
        if self.job.kind == "forecast" and code == 0:
            write_json(self.job.forecast, json.loads(out))
        return code

    def stop(self) -> None:
        """Ask it to save and end, and wait until it has."""
        ask_to_end(self.process)


def said_its_verdict(code: int) -> bool:
    """Whether a run came to its end, whatever its audit says."""
    return code in EXIT_CODES.values()


def is_busy(job: Job) -> bool:
    """Whether another process works on the cell."""
    return is_going(job.log) or job.folder.is_locked()
