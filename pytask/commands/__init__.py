"""The verbs of the command line, one small module each; `pytask.cli` is their table."""
