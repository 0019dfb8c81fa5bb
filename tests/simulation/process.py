"""A simulated worker process that a CPU loop may hold, too."""

from pytask.testing.worker_process import WorkerProcess


class Process(WorkerProcess):
    """One process at a place ("w0", "w1", ...) of the world."""

    def begin_hog(self, run):
        self.hog = run
        self.loop.freeze(self)
        self._spin(run)

    def _spin(self, run):
        if self.hog is not run or self.dead:
            return
        if not self.stopped:
            self.world.evidence.act(run)
        self.loop.later(None, 0.05, self._spin, run)

    def end_hog(self):
        if self.dead or self.hog is None:
            return
        self.hog = None
        if not self.stopped:
            self.loop.thaw(self)
