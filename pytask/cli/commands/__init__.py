"""The verbs of the command line, one small module each; `pytask.cli.main` is their table."""
