"""Everything that can go wrong because of what lichen was given.

    LichenError                 base: a sentence about the value given, and one concrete fix
    ├── ConfigError             a setting is unknown, has the wrong type or an impossible value
    ├── ImageError              an image, an image folder or its patient table cannot be used
    ├── TrainingError           training cannot go on, e.g. the loss is no longer a number
    ├── CheckpointError         a checkpoint is missing, cut short, or of another architecture
    ├── RunError                a run folder is in use, is not one, or belongs to other settings
    ├── EnergyError             a trace of energy readings cannot be read
    ├── CarbonError             a place, month or PUE is unknown or impossible, or a file of emissions is none
    ├── BudgetError             a budget does not allow the work, or is spent
    ├── AuditError              the sets given cannot be compared, or an audit cannot be released from
    └── DependencyError         an optional package or device is needed and not there

The command line prints a ``LichenError`` as two lines and exits with 2, or 4 for a ``BudgetError``. Every other
exception is a defect of lichen and keeps its traceback.
"""

from __future__ import annotations

BUDGET_CODE = 4
"""The exit code of a command that ends with a BudgetError."""


class LichenError(Exception):
    """What is wrong with the value given (``problem``), and one concrete way to put it right (``fix``)."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}"


class ConfigError(LichenError):
    """A setting is unknown, has the wrong type or an impossible value."""


class ImageError(LichenError):
    """An image, an image folder or its patient table cannot be used."""


class TrainingError(LichenError):
    """Training cannot go on, e.g. the loss is no longer a number."""


class CheckpointError(LichenError):
    """A checkpoint is missing, cut short, or of another architecture."""


class RunError(LichenError):
    """A run folder is in use, is not one, or belongs to other settings."""


class EnergyError(LichenError):
    """A trace of energy readings cannot be read."""


class CarbonError(LichenError):
    """A place, month or PUE is unknown or impossible, or a file of emissions is none."""


class BudgetError(LichenError):
    """A budget does not allow the work, or is spent; what was trained so far is saved."""


class AuditError(LichenError):
    """The sets given cannot be compared, or an audit cannot be released from."""


class DependencyError(LichenError):
    """An optional package or device is needed and not there."""
