"""`pytask explain`."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain an error code: what happened, why, and what to do.

    Without CODE, list all codes with their titles.
    """
    from pytask.cli.messages import explanations, unfilled
    from pytask.terminal import out

    known = explanations()
    if code is None:
        for one, text in known.items():
            out(f"{one}  {text.partition(chr(10))[0]}", wrap=True)
        return
    wanted = f"PT{code.strip('[] ').upper().removeprefix('PT'):0>3}"
    if wanted not in known:
        raise click.UsageError(f"there is no code {code!r}; `pytask explain` lists all codes")
    out(f"{wanted}  {unfilled(known[wanted]) if sys.stdout.isatty() else known[wanted]}", wrap=True)
