"""Files are replaced wholly or not at all, and nothing but files is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lichen.errors import ConfigError
from lichen.files import write_text


def test_a_device_a_pipe_and_a_folder_are_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path(), Path("/dev/lichen-test")):
        with pytest.raises(ConfigError, match="not a file") as caught:
            write_text(path, "text")
        assert "name of a file" in caught.value.fix
    assert pipe.is_fifo()
    assert not Path("/dev/lichen-test").exists()
    write_text(tmp_path / "new", "one")
    write_text(tmp_path / "new", "two")
    assert (tmp_path / "new").read_text() == "two"
