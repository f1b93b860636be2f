"""Nothing reaches the network unasked: the commands run where sockets are forbidden and there is no home."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from warm_commands import run_lichen

TINY = str(Path(__file__).parent / "tiny.yaml")
FORBIDDING = """
import socket, sys

def forbidden(*arguments, **options):
    print("NETWORK", arguments, file=sys.stderr, flush=True)
    raise AssertionError("the network was asked for")

class NoSocket(socket.socket):
    def __init__(self, family=socket.AF_INET, *arguments, **options):
        if family != getattr(socket, "AF_UNIX", None):
            forbidden("socket", family)
        super().__init__(family, *arguments, **options)

socket.socket = NoSocket
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
    setattr(socket, name, forbidden)
"""
RUN = FORBIDDING + "from lichen.cli import main\nmain(sys.argv[1:])\n"


def without(home: Path) -> dict[str, str]:
    """The environment of somebody who has no ``home``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return environment | {"HOME": str(home), "OMP_NUM_THREADS": "1"}


def forbidden(program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=without(home),
        timeout=600,
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('example.org', 80))",
        "socket.socket().connect(('192.0.2.1', 80))",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
    ],
)
def test_the_guard_sees_who_asks_for_the_network(tmp_path: Path, attempt: str) -> None:
    cold = forbidden(FORBIDDING + attempt, home=tmp_path)
    warm = run_lichen(
        ["doctor"], tmp_path, without(tmp_path), timeout_s=600, first=partial(exec, FORBIDDING + attempt, {})
    )
    for done in (cold, warm):
        assert done.returncode != 0
        assert "NETWORK" in done.stderr


def test_every_command_works_without_network_and_without_a_home(tmp_path: Path) -> None:
    run, home = tmp_path / "run", tmp_path / "no-home"
    few = ["--autoencoder.images-seen", "64", "--training.images-seen", "64", "--quiet"]
    commands = [
        (["run", "--config", TINY, *few, "--out", str(run)], 3),
        (["train", "--config", TINY, *few, "--out", str(tmp_path / "trained")], 0),
        (["sample", str(run), "--out", str(tmp_path / "more"), "--sampling.count", "2", "--quiet"], 0),
        (
            [
                "audit",
                "--run",
                str(run),
                "--synthetic",
                str(tmp_path / "more"),
                "--out",
                str(tmp_path / "a"),
                "--quiet",
            ],
            3,
        ),
        (["images", str(run / "samples"), "--quiet"], 0),
        (["report", str(run)], 0),
        (["card", str(run)], 0),
        (["runs", str(tmp_path)], 0),
        (["doctor"], 0),
        (["init", str(tmp_path / "new.yaml")], 0),
    ]
    for number, (arguments, code) in enumerate(commands):
        if number == 0:  # loads every library under the guard; the others find them loaded
            done = forbidden(RUN, *arguments, home=home)
        else:
            guard = partial(exec, FORBIDDING, {})
            done = run_lichen(arguments, tmp_path, without(home), timeout_s=600, first=guard)
        assert done.returncode == code, (arguments, done.stderr)
        assert "NETWORK" not in done.stderr
    assert not home.exists()
