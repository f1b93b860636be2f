"""Signals and kills: the process ends as it should, and the same command again gives the same bits."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from lichen.cli import main
from lichen.commands import COMMANDS
from lichen.files import sha256_of
from lichen.stopping import Stopped, deferred, listening
from warm_commands import Command

TINY = [
    *("--config", str(Path(__file__).parent / "tiny.yaml"), "--sampling.batch-size", "2"),
    *("--autoencoder.images-seen", "128", "--training.images-seen", "256"),
]
KILLS = 5
PATIENCE_S = 600.0
"""How long a process is waited for: far longer than it takes, since a busy machine is no failure."""


def lichen(*arguments: str, folder: Path, most_bytes: int | None = None) -> Command:
    """A ``lichen`` process; with ``most_bytes`` the system refuses it to write a file longer than that."""
    limit = None if most_bytes is None else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    return Command(arguments, folder, {**os.environ, "OMP_NUM_THREADS": "1"}, limit)


def results(run: Path) -> dict[str, str]:
    """A hash of each file that must be the same: weights and samples."""
    paths = [run / "checkpoints/generator.safetensors", *sorted((run / "samples").glob("sample-*"))]
    return {path.name: sha256_of(path) for path in paths}


def wait_for(path: Path, process: Command) -> None:
    """Return when ``path`` has something in it, or fail after a long time or when the process has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not (path.is_file() and path.stat().st_size):
        assert process.poll() is None, process.said()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """The results of a run that nobody interrupts, and how long it took."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    start = time.monotonic()
    process = lichen("run", *TINY, "--out", str(run), "--quiet", folder=run.parent)
    assert process.wait(PATIENCE_S) == 3, process.said()  # tiny runs have too few patients for a verdict
    return results(run), time.monotonic() - start


def test_a_run_killed_at_random_instants_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: tuple[dict[str, str], float]
) -> None:
    wanted, seconds = undisturbed
    chance = random.Random(7)
    kills = 0
    code: int | None = None
    while code is None or kills < KILLS:
        process = lichen("run", *TINY, "--out", str(tmp_path / "run"), "--quiet", folder=tmp_path)
        try:
            code = process.wait(chance.uniform(0.2, 1.0) * seconds if kills < KILLS else PATIENCE_S)
            kills = KILLS  # it was done before we were
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
    assert code == 3
    assert results(tmp_path / "run") == wanted
    assert not list((tmp_path / "run").rglob(".*.partial.*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_asked_to_stop_saves_and_says_ok(
    tmp_path: Path, undisturbed: tuple[dict[str, str], float], number: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = lichen("run", *TINY, "--out", str(run), folder=tmp_path)
    wait_for(run / "log.jsonl", process)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert "stopped as asked; the same command again goes on from here" in process.said()
    assert "Traceback" not in process.said()
    assert (run / "checkpoints/autoencoder.state.safetensors").is_file()
    assert lichen("run", *TINY, "--out", str(run), "--quiet", folder=tmp_path).wait(PATIENCE_S) == 3
    assert results(run) == undisturbed[0]


@pytest.mark.parametrize(("command", "again"), [("audit", "goes on from here"), ("release", "begins anew")])
def test_a_stopped_verdict_is_no_clean_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, again: str
) -> None:
    def asked(_: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 1

    monkeypatch.setitem(COMMANDS, command, asked)
    with pytest.raises(SystemExit) as ended:
        main([command])
    assert ended.value.code == 143
    assert f"stopped as asked; the same command again {again}" in capsys.readouterr().err


def test_a_full_disk_is_an_error_of_two_lines_and_leaves_the_last_good_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("run", *TINY, "--out", str(run), "--quiet")
    process = lichen(*words, folder=tmp_path, most_bytes=20_000)  # less than any checkpoint
    assert process.wait(PATIENCE_S) == 2
    errors = process.said()
    assert len(errors.splitlines()) == 2, errors
    assert "fix: free some space" in errors
    assert not list((run / "checkpoints").glob("*.safetensors"))
    assert not list(run.rglob(".*.partial.*"))


def test_a_folder_that_vanishes_is_an_error_of_two_lines(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = lichen("run", *TINY, "--training.images-seen", "100000", "--out", str(run), "--quiet", folder=tmp_path)
    wait_for(run / "log.jsonl", process)
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(run, ignore_errors=True)  # what was written meanwhile
    assert process.wait(PATIENCE_S) == 2
    errors = process.said()
    assert f"error: the run folder {run} has vanished" in errors
    assert "Traceback" not in errors


def receive(numbers: Sequence[signal.Signals]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_a_signal_ends_what_is_going_on() -> None:
    with listening(), pytest.raises(Stopped):
        receive([signal.SIGTERM])
    with listening(), pytest.raises(KeyboardInterrupt):
        receive([signal.SIGINT])


def test_training_hears_of_a_signal_and_ends_in_its_own_time() -> None:
    done = []
    with listening(), pytest.raises(Stopped), deferred() as asked:  # noqa: PT012 (the order is what is tested)
        assert not asked()
        receive([signal.SIGUSR1, signal.SIGTERM])
        done.append(asked())
    assert done == [True]
    with listening(), deferred() as asked:
        assert not asked()


def test_a_second_ctrl_c_does_not_wait() -> None:
    done = []
    with listening(), pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012 (as above)
        receive([signal.SIGINT])
        done.append("waited")
        receive([signal.SIGINT])
        done.append("never")
    assert done == ["waited"]


def test_what_could_not_be_saved_is_not_called_stopped() -> None:
    with listening(), pytest.raises(OSError, match="no space"), deferred() as asked:  # noqa: PT012 (as above)
        receive([signal.SIGTERM])
        assert asked()
        raise OSError("no space")
    with listening(), pytest.raises(Stopped):
        receive([signal.SIGTERM])  # and the next signal is heard as the first


def test_a_process_whose_neighbour_was_asked_stops_too() -> None:
    with listening(), pytest.raises(Stopped), deferred():
        raise Stopped
