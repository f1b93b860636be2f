"""The errors of lichen, in the order in which they stand in the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from lichen import errors

from .markdown import glossary, heading


def failures() -> Iterator[str]:
    yield from heading(
        "Errors", "In Python each error below is a `lichen.errors.LichenError` with a `problem` and a `fix`."
    )
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.LichenError)]
    kinds = sorted((kind for kind in kinds if kind is not errors.LichenError), key=_line_number)
    yield from glossary("error", "when", {kind.__name__: kind.__doc__ or "" for kind in kinds})


def _line_number(kind: type) -> int:
    return inspect.getsourcelines(kind)[1]
