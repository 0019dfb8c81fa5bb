"""Without the extra, the message says what to install."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("asked", ["pytask.django.PytaskBackend", "__import__('pytask.django.worker')"])
def test_without_django_the_extra_and_the_python_are_named(asked):
    code = f"import sys; sys.modules['django'] = None; import pytask.django; {asked}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "[PT195]" in last
    assert "Python 3.12" in last
    assert last.endswith("pip install 'pytaskd[django]'")
