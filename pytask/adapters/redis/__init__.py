"""The state in Redis: scripts, the calls of them, and connections cloned from the user's client."""
