"""`pytask completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  pytask completion bash \\
             > ~/.local/share/bash-completion/completions/pytask
    zsh:   pytask completion zsh > ~/.zfunc/_pytask    (~/.zfunc in fpath)
    fish:  pytask completion fish > ~/.config/fish/completions/pytask.fish
    """  # noqa: D301 - tells click not to rewrap the next paragraph
    from click.shell_completion import get_completion_class

    from pytask.terminal import out

    root = click.get_current_context().find_root()
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"click has no completion for {shell}")
    out(made(root.command, {}, "pytask", "_PYTASK_COMPLETE").source())
