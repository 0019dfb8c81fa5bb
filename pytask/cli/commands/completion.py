"""`pytask completion`."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Verbs and options complete, and so do ids, functions, states, workers, schedules and groups: Redis is
    asked for them, at the address that the line, the environment or pytask.toml names.

    \b
    bash:  pytask completion bash \\
             > ~/.local/share/bash-completion/completions/pytask
    zsh:   pytask completion zsh > ~/.zfunc/_pytask    (~/.zfunc in fpath)
    fish:  pytask completion fish > ~/.config/fish/completions/pytask.fish
    """  # noqa: D301 - tells click not to rewrap the next paragraph
    from pytask.cli.completion import script
    from pytask.terminal import out

    out(script(click.get_current_context().find_root().command, shell))
