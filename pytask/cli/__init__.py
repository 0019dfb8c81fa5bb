"""The command line: one small module per command, and what the commands share."""
