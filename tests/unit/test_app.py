"""Settings that the composition root refuses."""

import pytest

from pytask import PyTask
from pytask.adapters.memory import MemoryBackend
from pytask.domain.errors import ConfigError


def test_a_backend_of_ones_own_has_no_replicas_to_wait_for():
    with pytest.raises(ConfigError, match="durable_acks needs a Redis client or URL"):
        PyTask(MemoryBackend(), durable_acks=1).start()
