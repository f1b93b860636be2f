"""The batch script for Slurm: executed, with stand-ins for Slurm's own commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lichen.errors import ConfigError
from lichen.slurm import Job, batch_script

JOB = Job(nodes=2, gpus=4, cpus=16, time="08:00:00", notice_s=90)
TINY = str(Path(__file__).parent / "tiny.yaml")


def checked(script: str) -> str:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    return script


def test_the_script_asks_for_what_the_job_needs() -> None:
    script = checked(batch_script(JOB, ["train", "--out", "runs/x"], "python"))
    for line in (
        "--nodes=2",
        "--gpus-per-node=4",
        "--cpus-per-task=16",
        "--time=08:00:00",
        "--signal=B:USR1@90",
        "--requeue",
    ):
        assert f"#SBATCH {line}\n" in script
    assert "--nnodes 2 --nproc-per-node 4" in script
    assert "-m lichen -- train --out runs/x" in script


def test_names_with_blanks_and_worse_stay_one_word() -> None:
    script = checked(batch_script(JOB, ["train", "--out", "a b; rm -rf $HOME"], "/opt/my python/bin/python"))
    assert "'a b; rm -rf $HOME'" in script
    assert "'/opt/my python/bin/python'" in script


@pytest.mark.parametrize(
    ("change", "command", "words"),
    [
        ({}, ["doctor"], "not for doctor"),
        ({}, [], "not for nothing"),
        ({"gpus": -1}, ["train"], "gpus is -1"),
        ({"time": "soon\n#SBATCH --nodes=99"}, ["train"], "does not understand"),
        ({"partition": "gpu\nrm"}, ["train"], "names nothing"),
    ],
)
def test_what_slurm_would_refuse_is_refused(change: dict[str, object], command: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        batch_script(Job(**{**vars(JOB), **change}), command, "python")


def test_a_job_that_is_told_saves_and_is_queued_again_and_the_next_one_finishes(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (tools / "scontrol").write_text(
        f'#!/bin/sh\n[ "$1" = requeue ] && echo "$2" >> {tmp_path}/queued\necho localhost\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    out = tmp_path / "run"
    job = Job(nodes=1, gpus=0, cpus=1, time="10", notice_s=60)
    command = ["train", "--config", TINY, "--autoencoder.images-seen", "96", "--training.images-seen", "96"]
    script = tmp_path / "job.sh"
    script.write_text(checked(batch_script(job, [*command, "--quiet", "--out", str(out)], sys.executable)))
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "node",
        "OMP_NUM_THREADS": "1",
    }

    def submitted() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["bash", str(script)], env=environment, stderr=subprocess.DEVNULL)

    process = submitted()
    deadline = time.monotonic() + 100
    while not (out / "log.jsonl").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(100) == 0
    assert (tmp_path / "queued").read_text() == "17\n"
    assert (out / "checkpoints/autoencoder.state.safetensors").is_file()
    assert not (out / "checkpoints/generator.safetensors").exists()
    assert submitted().wait(200) == 0
    assert (out / "checkpoints/generator.safetensors").is_file()
    assert (tmp_path / "queued").read_text() == "17\n"
