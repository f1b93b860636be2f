"""What each process does for ``test_lightning.py``: train in a team of processes that Lightning leads."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lichen.lightning import EnergyCallback
from steady_gpus import SteadyNvml


class Line(pl.LightningModule):  # type: ignore[misc]
    """A straight line, fitted at the cost of 0.05 s of CPU time per step."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """The loss, after some work."""
        end = time.process_time() + 0.05
        while time.process_time() < end:
            sum(range(1000))
        loss: Tensor = self.line(batch[0]).square().mean()
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:  # noqa: ARG002 (Lightning names it)
        """Takes time and does nothing."""
        time.sleep(0.05)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), 0.1)


def main() -> None:
    """Train and leave what rank 0 found."""
    sys.modules["pynvml"] = SteadyNvml(2.0, 3.0)  # type: ignore[assignment]
    folder = Path(sys.argv[-1])
    cost = EnergyCallback(grid="FR")
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        default_root_dir=folder,
        callbacks=[cost],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images = DataLoader(TensorDataset(torch.zeros(16, 4)), batch_size=2)
    trainer.fit(Line(), images, images)
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found = {"logged": logged, "energy_j": cost.energy.energy_j, "duration_s": cost.duration_s}
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
