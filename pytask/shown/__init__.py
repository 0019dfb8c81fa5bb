"""What the command line and the page show alike: rows, facts, words and masks; each of them draws these."""
