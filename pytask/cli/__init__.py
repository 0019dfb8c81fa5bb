"""The command line: a small module a verb, and what they share."""
