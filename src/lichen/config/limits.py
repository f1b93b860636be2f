"""What a run may use at most: carbon, energy, time and memory."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.bounds import at_least, positive


@dataclass(frozen=True)
class BudgetConfig:
    """What a run may use at most, all its sessions together; training stops with a checkpoint before it uses more."""

    carbon_g: float | None = None
    """Grams of CO2e; the place must be known."""
    energy_kwh: float | None = None
    """Kilowatt-hours of the computer itself."""
    hours: float | None = None
    """Hours of work."""

    def __post_init__(self) -> None:
        for name in ("carbon_g", "energy_kwh", "hours"):
            value = getattr(self, name)
            if value is not None:
                positive(f"budget.{name.replace('_', '-')}", value)

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.carbon_g, self.energy_kwh, self.hours))


@dataclass(frozen=True)
class MemoryConfig:
    """How much memory networks may take."""

    budget_gb: float | None = None
    """Gigabytes (10^9 bytes) for each network; the cheapest measure that fits is taken; images are coded in tiles."""

    def __post_init__(self) -> None:
        if self.budget_gb is not None:
            positive("memory.budget-gb", self.budget_gb)
            at_least("memory.budget-gb", self.budget_gb, 0)

    @property
    def budget_bytes(self) -> int | None:
        """The same in bytes."""
        return None if self.budget_gb is None else int(self.budget_gb * 10**9)


@dataclass(frozen=True)
class EnergyBudgetConfig:
    """What one of several trainings, or all of them together, may use at most."""

    carbon_g: float | None = None
    """Grams of CO2e; the place must be known."""
    energy_kwh: float | None = None
    """Kilowatt-hours of the computer itself."""

    def check(self, option: str) -> None:
        """Raise ConfigError for what is no limit; ``option`` is what it was given as, for each or for all."""
        for name in ("carbon_g", "energy_kwh"):
            value = getattr(self, name)
            if value is not None:
                positive(f"{option}.{name.replace('_', '-')}", value)

    def __bool__(self) -> bool:
        return self.carbon_g is not None or self.energy_kwh is not None
