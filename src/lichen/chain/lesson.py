"""A segmenter that is about to learn: what from, and whose images choose its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lichen.chain.parts import background_number, class_numbers
from lichen.chain.segmenting_ahead import VALIDATE, SegmentationWork
from lichen.config import SegmentationTraining
from lichen.images import ImageSet
from lichen.progress import Step, silent
from lichen.quality.dice import DiceScores, dice_scores
from lichen.seeds import mix_seed
from lichen.stopping import Asked, never
from lichen.training.loop import Log
from lichen.training.segmenter import Best, Looking, Trained, better, segment_images, train_segmenter
from lichen.watch import Watch


@dataclass(frozen=True)
class Lesson:
    """The network, untrained, and all that it learns from."""

    work: SegmentationWork
    network: nn.Module
    train: ImageSet
    looking: Looking

    def learn(self, state: Path, log: Log, step: Step, stop: Asked = never) -> Trained:
        """Train the network as ``train_segmenter`` does; it has its last weights then."""
        return train_segmenter(
            self.network,
            self.train.without_label_map.voxels,
            class_numbers(self.train),
            background_number(self.train),
            self.work.recipe,
            self.looking,
            state_path=state,
            log=log,
            step=step,
            stop=stop,
        )

    def take_best(self, trained: Trained) -> Best:
        """Give the network its best weights; what was never looked at is looked at now."""
        best = trained.best
        if best is None:
            best = better(None, trained.images_seen, self.network, self.looking.validate(self.network.eval()))
        self.network.load_state_dict(dict(best.kept.weights))
        self.network.eval()
        return best


def lesson(work: SegmentationWork, train: ImageSet, validation: ImageSet, device: torch.device, watch: Watch) -> Lesson:
    """A network with the weights of its seed; looks at ``validation``, in which something is labelled, are a phase."""
    training = work.config.training
    torch.manual_seed(mix_seed(training.seed, "weights"))

    def validate(network: nn.Module) -> float:
        with watch.trace.phase(VALIDATE):
            estimate = score(network, validation, training).dice.estimate
        assert estimate is not None
        return estimate

    return Lesson(work, work.spec.build().to(device), train, Looking(validate, work.every, training.patience))


def score(network: nn.Module, images: ImageSet, training: SegmentationTraining, *, step: Step = silent) -> DiceScores:
    """Dice's coefficients of what ``network`` finds in ``images`` against their label maps."""
    voxels = images.without_label_map.voxels
    found = segment_images(network, voxels, training.batch_size, training.precision, step=step)
    return dice_scores(found, class_numbers(images), images.patients, images.classes)
