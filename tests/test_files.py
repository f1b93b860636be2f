"""Files are replaced wholly or not at all, and nothing but files is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lichen.errors import ConfigError
from lichen.files import make_folder, write_text


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


def test_a_file_where_a_folder_is_to_be_made_is_named_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for below in (file, file / "a" / "b"):
        with pytest.raises(ConfigError, match="/file is a file, and not a folder"):
            make_folder(below)
    with pytest.raises(ConfigError, match="/file is a file"):
        write_text(file / "page.html", "text")
    assert file.read_text() == "kept"
    make_folder(tmp_path / "x" / "y")
    make_folder(tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y").is_dir()
