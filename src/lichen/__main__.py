"""``python -m lichen`` is the ``lichen`` command."""

from lichen.cli import main

if __name__ == "__main__":
    main()
