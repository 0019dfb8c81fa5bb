"""`pytask`, also as `python -m pytask`."""

from __future__ import annotations

from pytask.console.interrupt import guard_imports


def main() -> None:
    """Run the command."""
    guard_imports()
    from pytask.cli import main as command

    command()


if __name__ == "__main__":
    main()
