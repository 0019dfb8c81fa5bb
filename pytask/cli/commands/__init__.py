"""The commands, one small module each; `pytask.cli.main` lists them."""
