"""`pytask explain`."""

from __future__ import annotations

import click


@click.command()
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain an error code: what happened, why, and what to do.

    Without CODE, all codes with their titles.
    """
    from pytask.console.codes import explanations

    known = explanations()
    if code is None:
        for one, text in known.items():
            click.echo(f"{one}  {text.partition(chr(10))[0]}")
        return
    wanted = code.strip("[]").upper()
    wanted = wanted if wanted.startswith("PT") else f"PT{wanted:0>3}"
    if wanted not in known:
        raise click.UsageError(f"there is no code {code!r}; `pytask explain` lists all there are")
    click.echo(f"{wanted}  {known[wanted]}")
