"""A worker of the no-op task that counts nothing for its metrics, to compare with."""

from benchmarks.tasks import Noop
from pytask import PyTask
from pytask.runtime.runs.tally import Measured, Tally

Tally.launched = Tally.over = Measured.add = lambda *_, **__: None

app = PyTask()
app.add_task(Noop)
