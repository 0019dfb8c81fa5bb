"""What the verbs of the command line share: options, settings, output, a connection."""
