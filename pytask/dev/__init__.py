"""`pytask dev`: a worker on a private server, whose tasks are handed over to the new code on every save."""
