"""Text of others on a terminal: a file may be named so that it clears the screen or forges a line of a verdict."""

from __future__ import annotations


def plain(text: str, *, lines: bool = False) -> str:
    r"""``text`` with all that is not printed (control characters, line ends, marks of direction) as \x1b or \u202e.

    ``lines``: line ends stay.
    """
    return "".join(
        letter
        if letter.isprintable() or (lines and letter == "\n")
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )
