"""`python -m pytask`: the same as the command `pytask`."""

from pytask.cli import main

main(prog_name="pytask")
