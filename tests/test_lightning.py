"""A Lightning training is measured, whatever becomes of it."""

from __future__ import annotations

import csv
import importlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lichen.carbon import intensity
from lichen.energy import PhaseEnergy, read_sessions, read_traces
from lichen.errors import CarbonError, ConfigError, DependencyError
from steady_gpus import SteadyNvml

pytestmark = [
    # Lightning's own use of what PyTorch has renamed, and its advice
    pytest.mark.filterwarnings(r"ignore::Warning:(pytorch_)?lightning\."),
    pytest.mark.filterwarnings(r"ignore::Warning:(pytorch_)?lightning_(fabric|utilities)"),
]
HERE = Path(__file__).parent
STEP_S, STEPS, EPOCHS = 0.03, 4, 2


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> SteadyNvml:
    """A GPU that draws 100 W."""
    steady = SteadyNvml(100.0)
    monkeypatch.setitem(sys.modules, "pynvml", steady)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return steady


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Lightning leaves Ctrl-C ignored when it has been interrupted."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def lightning() -> ModuleType:
    return importlib.import_module("lightning.pytorch")


def callback(**options: Any) -> Any:
    from lichen.lightning import EnergyCallback  # here and not above: Lightning takes seconds to load

    return EnergyCallback(**options)


def trainer(lightning: ModuleType, folder: Path, *callbacks: Any, epochs: int = EPOCHS, **options: Any) -> Any:
    loggers = importlib.import_module(f"{lightning.__name__}.loggers")
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=loggers.CSVLogger(folder, name="log"),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def model(
    lightning: ModuleType, *, train: Callable[[], None] | None = None, check: Callable[[], None] | None = None
) -> Any:
    import torch

    class Line(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(4, 1)

        def step(self, batch: Any, also: Callable[[], None] | None = None) -> Any:
            time.sleep(STEP_S)
            if also:
                also()
            return self.line(batch[0]).square().mean()

        def training_step(self, batch: Any) -> Any:
            return self.step(batch, train)

        def validation_step(self, batch: Any) -> None:
            self.step(batch, check)

        def test_step(self, batch: Any) -> None:
            self.step(batch)

        predict_step = test_step

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Line()


def images() -> Any:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    return DataLoader(TensorDataset(torch.zeros(2 * STEPS, 4)), batch_size=2)


def fail() -> None:
    raise ValueError("the data are bad")


def interrupt() -> None:
    raise KeyboardInterrupt


def gpu_j(phase: PhaseEnergy) -> float:
    return sum(part.energy.energy_j or 0.0 for part in phase.components if part.component.startswith("gpu"))


def log_of(folder: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(folder.glob("log/version_*/metrics.csv")):
        with path.open(encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if row.get("energy_kwh")]
    return rows


@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_each_phase_has_the_joules_of_its_time(name: str, tmp_path: Path, gpus: SteadyNvml) -> None:
    library, cost = importlib.import_module(name), callback(grid="FR")
    began = time.monotonic()
    training = trainer(library, tmp_path, cost, num_sanity_val_steps=0)
    line = model(library)
    training.fit(line, images(), images())
    training.test(line, images(), verbose=False)
    training.predict(line, images())
    took_s = time.monotonic() - began
    phases = {phase.phase: phase for phase in cost.phases}
    assert list(phases) == ["fit", "validate", "test", "predict"]
    for phase, epochs in (("fit", EPOCHS), ("validate", EPOCHS), ("test", 1), ("predict", 1)):
        assert phases[phase].duration_s >= epochs * STEPS * STEP_S
        assert gpu_j(phases[phase]) > 100 * epochs * STEPS * STEP_S * 0.999  # the counter's steps are millijoules
        assert phases[phase].total.energy_j > gpu_j(phases[phase])
    assert cost.duration_s <= took_s
    assert sum(map(gpu_j, phases.values())) <= 100 * took_s
    assert cost.sources["gpu0"] == "counter"
    assert cost.energy.energy_j == pytest.approx(sum(phase.total.energy_j for phase in phases.values()))
    assert cost.carbon_g.estimate == pytest.approx(cost.energy.kwh * intensity("FR").g_per_kwh.estimate)
    assert "France" in str(cost)


def test_the_sums_are_logged_at_the_end_of_each_epoch(tmp_path: Path, gpus: SteadyNvml, lightning: ModuleType) -> None:
    cost = callback(grid="FR")
    trainer(lightning, tmp_path, cost).fit(model(lightning), images(), images())
    rows = log_of(tmp_path)
    logged_kwh = [float(row["energy_kwh"]) for row in rows]
    assert len(logged_kwh) == EPOCHS
    assert logged_kwh[1] - logged_kwh[0] > 100 * STEPS * STEP_S / 3.6e6
    # what passes between two phases is logged too, and in the trace alone
    traced_kwh = sum(phase.total.kwh or 0.0 for phase in read_traces(tmp_path.glob("energy-*.jsonl")))
    assert 100 * EPOCHS * STEPS * STEP_S / 3.6e6 < logged_kwh[-1] <= traced_kwh * (1 + 1e-6)
    for row, kwh in zip(rows, logged_kwh, strict=True):
        assert float(row["carbon_g"]) == pytest.approx(kwh * (intensity("FR").g_per_kwh.estimate or 0))


def test_a_training_stops_at_its_budget(tmp_path: Path, gpus: SteadyNvml, lightning: ModuleType) -> None:
    stopping = importlib.import_module("lightning.pytorch.callbacks").EarlyStopping(
        "energy_kwh",
        patience=10**9,
        divergence_threshold=2.5 * 100 * STEPS * STEP_S / 3.6e6,
        check_on_train_epoch_end=True,
    )
    cost = callback()
    training = trainer(lightning, tmp_path, cost, stopping, epochs=50)
    training.fit(model(lightning), images(), images())
    assert 0 < training.current_epoch < 5
    assert cost.energy.kwh > stopping.divergence_threshold


def test_an_unknown_place_logs_no_grams(tmp_path: Path, lightning: ModuleType) -> None:
    cost = callback()
    trainer(lightning, tmp_path, cost, epochs=1).fit(model(lightning), images())
    assert "carbon_g" not in log_of(tmp_path)[0]
    assert cost.carbon_g.estimate is None
    assert cost.carbon_g.low < cost.carbon_g.high


@pytest.mark.parametrize("place", [{"grid": "Atlantis"}, {"grid": "FR", "month": 13}, {"grid": "FR", "pue": 0.5}])
def test_a_wrong_place_is_an_error_before_the_training(place: dict[str, Any]) -> None:
    with pytest.raises(CarbonError):
        callback(**place)


def test_a_resumed_training_goes_on_in_its_trace(tmp_path: Path, gpus: SteadyNvml, lightning: ModuleType) -> None:
    first, second = callback(), callback()
    training = trainer(lightning, tmp_path, first, epochs=1)
    training.fit(model(lightning), images())
    first_j, first_s = first.energy.energy_j, first.duration_s
    training.save_checkpoint(tmp_path / "stopped.ckpt")
    trainer(lightning, tmp_path, second).fit(model(lightning), images(), ckpt_path=tmp_path / "stopped.ckpt")
    (trace,) = tmp_path.glob("energy-*-0.jsonl")
    assert len(read_sessions([trace])) == 2
    assert second.duration_s > first_s + STEPS * STEP_S
    assert second.energy.energy_j > first_j + 100 * STEPS * STEP_S
    assert [float(row["energy_kwh"]) * 3.6e6 > first_j for row in log_of(tmp_path)] == [False, True]


@pytest.mark.parametrize("where", ["train", "check"])
@pytest.mark.parametrize(("what", "raised"), [(fail, ValueError), (interrupt, SystemExit)])
@pytest.mark.usefixtures("interrupts")
def test_a_training_that_fails_leaves_its_trace(
    where: str,
    what: Callable[[], None],
    raised: type[BaseException],
    tmp_path: Path,
    gpus: SteadyNvml,
    lightning: ModuleType,
) -> None:
    cost = callback(folder=tmp_path / "energy")
    with pytest.raises(raised):
        trainer(lightning, tmp_path, cost, num_sanity_val_steps=0).fit(
            model(lightning, **{where: what}), images(), images()
        )
    phases = {phase.phase: gpu_j(phase) for phase in read_traces((tmp_path / "energy").glob("energy-*-0.jsonl"))}
    assert phases["fit" if where == "train" else "validate"] > 100 * STEP_S
    assert cost.energy.energy_j > 100 * STEP_S
    assert "lichen-energy" not in [thread.name for thread in threading.enumerate()]


def test_meters_that_fail_disturb_no_training(
    tmp_path: Path, gpus: SteadyNvml, lightning: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    cost = callback()
    training = trainer(lightning, tmp_path, cost)
    with caplog.at_level(logging.WARNING):
        training.fit(model(lightning, train=lambda: setattr(gpus, "broken", True)), images())
    assert training.state.finished
    assert "not even the driver's own error" in caplog.text
    (fit,) = cost.phases
    assert fit.absent == ("gpu0",)
    assert fit.total.energy_j > 0


def test_a_folder_that_cannot_be_written_disturbs_no_training(
    tmp_path: Path, lightning: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cost = callback(folder=tmp_path / "file")
    training = trainer(lightning, tmp_path, cost, epochs=1)
    training.fit(model(lightning), images())
    assert training.state.finished
    assert "cannot be written" in caplog.text
    assert cost.energy.energy_j is None
    assert cost.carbon_g is None


def test_what_would_be_counted_twice_or_kept_nowhere_is_refused(tmp_path: Path, lightning: ModuleType) -> None:
    with pytest.raises(ConfigError, match="two EnergyCallbacks"):
        trainer(lightning, tmp_path, callback(), callback()).fit(model(lightning), images())
    afar = lightning.Trainer(
        default_root_dir="memory://afar", callbacks=callback(), logger=False, enable_checkpointing=False
    )
    with pytest.raises(ConfigError, match="memory://afar"):
        afar.fit(model(lightning), images())
    assert not list(tmp_path.rglob("energy-*"))


def test_a_callback_can_be_sent_to_another_process(tmp_path: Path) -> None:
    cost = pickle.loads(pickle.dumps(callback(grid="FR", folder=tmp_path)))
    assert cost.place == intensity("FR")
    assert cost.phases == ()


def test_without_lightning_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "lichen.lightning", raising=False)
    with pytest.raises(DependencyError) as caught:
        importlib.import_module("lichen.lightning")
    assert caught.value.fix == "pip install 'lichen[lightning]'"


def test_two_processes_count_their_machine_once(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*launcher, str(HERE / "lightning_processes.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (next(tmp_path.glob(f"energy-*-{rank}.jsonl")) for rank in (0, 1))
    gpus = [set(read_sessions([path])[0].devices) & {"gpu0", "gpu1"} for path in (first, second)]
    assert gpus == [{"gpu0", "gpu1"}, set()]
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    phases = read_traces([first, second])
    assert sum(map(gpu_j, phases)) == pytest.approx((2.0 + 3.0) * found["duration_s"], rel=0.1)
    own_j = [sum(phase.total.energy_j or 0.0 for phase in read_traces([path])) for path in (first, second)]
    assert found["energy_j"] == pytest.approx(sum(own_j), rel=0.05)
    assert found["logged"]["energy_kwh"] * 3.6e6 == pytest.approx(sum(own_j), rel=0.1)
    assert own_j[1] > 0.2 * own_j[0], "otherwise this says nothing about the sum"
