"""Several processes on one job: parts, equal weights, the same samples and findings as one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from lichen.errors import ConfigError
from lichen.team import ALONE, Team, described, joined
from lichen.training.draws import Draws
from warm_commands import run_lichen

HERE = Path(__file__).parent
TINY = [
    *("--config", str(HERE / "tiny.yaml"), "--quiet"),
    *("--autoencoder.images-seen", "48", "--training.images-seen", "64", "--training.batch-size", "7"),
]


def started(*command: str, processes: int = 1) -> None:
    """Run ``lichen`` or a program as one process, or as several that know of each other."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    program, *rest = command
    if program == "lichen" and processes == 1:
        done = run_lichen(rest, HERE, environment, timeout_s=600)
    else:
        module = ["-m"] if program == "lichen" else []
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        arguments = list(command) if processes == 1 else [*torchrun, *module, program, "--", *rest]
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=600
        )
    assert done.returncode == 0, done.stderr[-3000:]


@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_are_disjoint_whole_and_even(count: int, size: int) -> None:
    parts = [list(range(count))[Team(rank, size).part(count)] for rank in range(size)]
    assert [thing for part in parts for thing in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(1, 12), st.integers(1, 5))
def test_an_image_meets_the_same_noise_however_many_processes_share_the_batch(batch_size: int, size: int) -> None:
    def drawn(part: slice) -> torch.Tensor:
        draws = Draws.of_step(3, "test", 40, batch_size, part, torch.device("cpu"))
        return torch.cat([draws.strata()[:, None], draws.normal((2,))], dim=1)

    parts = [drawn(Team(rank, size).part(batch_size)) for rank in range(size)]
    assert torch.equal(torch.cat(parts), drawn(slice(0, batch_size)))


def test_each_part_of_the_levels_is_met_once_in_a_batch() -> None:
    strata = Draws.of_step(0, "test", 8, 16, slice(0, 16), torch.device("cpu")).strata()
    assert sorted((strata * 16).long().tolist()) == list(range(16))


def test_one_process_is_a_team_of_one() -> None:
    assert described({}) == ALONE
    assert described({"RANK": "0", "WORLD_SIZE": "1"}) == ALONE
    assert described({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Team(3, 4, 1)
    with joined({}) as team:
        assert team.leads
        assert team.any(True)
        assert team.agree(-7)
    with pytest.raises(ConfigError, match="RANK"):
        described({"RANK": "one", "WORLD_SIZE": "2"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run folder trained by one process, and one trained by two."""
    folder = tmp_path_factory.mktemp("trained")
    started("lichen", "train", *TINY, "--out", str(folder / "one"))
    started("lichen", "train", *TINY, "--out", str(folder / "two"), processes=2)
    return folder / "one", folder / "two"


def test_two_processes_train_what_one_trains_up_to_rounding(trained: tuple[Path, Path]) -> None:
    one, two = (load_file(run / "checkpoints/generator.safetensors") for run in trained)
    for name, weights in one.items():
        assert torch.allclose(weights, two[name], rtol=0, atol=2e-3), name
    assert [path.name[-7:] for path in sorted(trained[1].glob("energy-*"))] == ["0.jsonl", "1.jsonl"]


def test_two_processes_draw_the_bytes_that_one_draws(trained: tuple[Path, Path]) -> None:
    run = trained[0]
    for processes in (1, 2):
        out = str(run / f"samples-{processes}")
        sampling = ["--sampling.count", "7", "--sampling.batch-size", "2", "--quiet"]
        started("lichen", "sample", str(run), "--out", out, *sampling, processes=processes)
    images = sorted(path.name for path in (run / "samples-1").glob("sample-*"))
    assert len(images) == 14
    for name in images:
        assert (run / "samples-1" / name).read_bytes() == (run / "samples-2" / name).read_bytes()


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two processes leave of ``two_processes.py``."""
    folder = tmp_path_factory.mktemp("worked")
    for processes in (1, 2):
        started(str(HERE / "two_processes.py"), str(folder), processes=processes)
    return folder


def test_two_processes_have_equal_weights_after_uneven_batches(worked: Path) -> None:
    alone, first, second = (load_file(worked / f"weights-{who}.safetensors") for who in ("0-of-1", "0-of-2", "1-of-2"))
    for name, weights in first.items():
        assert torch.equal(weights, second[name])
        assert torch.allclose(weights, alone[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["standard", "reversible"])
def test_two_processes_train_the_denoiser_that_one_trains_up_to_rounding(worked: Path, kind: str) -> None:
    alone, first, second = (load_file(worked / f"{kind}-{who}.safetensors") for who in ("0-of-1", "0-of-2", "1-of-2"))
    for name, weights in first.items():
        assert torch.equal(weights, second[name])
        torch.testing.assert_close(weights, alone[name], rtol=0, atol=2e-4)


def test_two_processes_that_train_a_stylegan2_have_equal_weights_near_those_of_one(worked: Path) -> None:
    alone, first, second = (load_file(worked / f"gan-{who}.safetensors") for who in ("0-of-1", "0-of-2", "1-of-2"))
    start = load_file(worked / "gan-start-0-of-1.safetensors")
    assert all(torch.equal(weights, second[name]) for name, weights in first.items())
    # each takes the minibatch deviation and the mean path length over its own part of a batch
    apart, moved = (
        sum((weights - one[name]).square().sum().item() for name, weights in other.items()) ** 0.5
        for one, other in ((alone, first), (start, alone))
    )
    assert 0 < apart < 0.3 * moved


@pytest.mark.parametrize("kind", ["standard", "reversible"])
def test_data_parallelism_of_torch_finds_the_gradients_of_one_process(worked: Path, kind: str) -> None:
    alone, first, second = (
        load_file(worked / f"gradients-{kind}-{who}.safetensors") for who in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert first.keys() == alone.keys()
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name])
        torch.testing.assert_close(gradient, alone[name], rtol=1e-3, atol=1e-5)


def test_two_processes_stop_at_the_same_step_although_one_is_asked(worked: Path) -> None:
    assert json.loads((worked / "stopped-0-of-2.json").read_text()) == {"images_seen": 15, "saved": True}
    assert json.loads((worked / "stopped-1-of-2.json").read_text()) == {"images_seen": 15, "saved": True}


def test_two_processes_keep_the_same_weights_where_a_probe_stops_though_one_of_them_looks(worked: Path) -> None:
    alone, first, second = (
        json.loads((worked / f"probed-{who}.json").read_text()) for who in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert alone["looks"] == first["looks"] == [15, 30, 45]
    assert second["looks"] == []
    assert first["weights"] == second["weights"] == pytest.approx(alone["weights"], abs=1e-5)


def test_two_processes_find_the_copies_that_one_finds(worked: Path) -> None:
    alone, first, second = (
        json.loads((worked / f"audit-{who}.json").read_text()) for who in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert alone["verdict"] == "copies"
    assert alone == first == second
