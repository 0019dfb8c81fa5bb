"""How state is kept: Redis, the scripts that change it, and an in-memory twin for tests."""
