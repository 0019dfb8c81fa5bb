"""The process that has imported one module, and forks for each process of it that is asked for.

It imports little: what a program's patch by gevent comes too late for would be no fault of the program.
"""

import json
import os
import select
import socket
import sys
from contextlib import suppress
from importlib import import_module

LARGEST = 1 << 17  # bytes of a request; Unix sockets take more at a time


class Children:
    """The fork server's side: serves requests until one has made this process a program's."""

    def __init__(self):
        # Taken before the program patches them: gevent's own would make an event loop, which a fork inherits.
        self._fork, self._waitpid, self._poll = os.fork, os.waitpid, select.poll()
        self._control = socket.socket(fileno=os.dup(0))
        self._poll.register(self._control.fileno(), select.POLLIN)
        self._living = {}  # pidfd -> (pid, where to write the exit code)

    def serve(self):
        """The arguments of the program, in the process that is to run it; all ends with the tests."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._living:
                    self._report(fd)
                    continue
                request, fds, _, _ = socket.recv_fds(self._control, LARGEST, 2)
                if not request:
                    os._exit(0)
                if self._fork_for(*fds):
                    continue
                return self._become(json.loads(request), *fds)

    def _fork_for(self, log, answers):
        """The pid of a new child, and 0 in it."""
        pid = self._fork()
        if pid:
            os.close(log)
            self._tell(answers, pid)
            pidfd = os.pidfd_open(pid)
            self._living[pidfd] = pid, answers
            self._poll.register(pidfd, select.POLLIN)
        return pid

    def _report(self, pidfd):
        """A child has ended."""
        pid, answers = self._living.pop(pidfd)
        self._poll.unregister(pidfd)
        self._tell(answers, os.waitstatus_to_exitcode(self._waitpid(pid, 0)[1]))
        os.close(answers)
        os.close(pidfd)

    @staticmethod
    def _tell(answers, number):
        with suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(answers, number.to_bytes(4, "big", signed=True))

    def _become(self, request, log, answers):
        """A process as `Popen` would have started it."""
        os.setsid()
        for fd in (
            answers,
            self._control.detach(),
            *self._living,
            *(end for _, end in self._living.values()),
        ):
            os.close(fd)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(null)
        os.close(log)
        os.environ.clear()
        os.environ.update(request["env"])
        return request["words"]


def main():
    """Import the module named, and run its `main()` in each process asked for."""
    children = Children()
    program = import_module(sys.argv[1])
    from gevent._hub_local import get_hub_if_exists  # not before the program has patched

    assert len(sys._current_frames()) == 1, "a fork has one thread only"
    assert get_hub_if_exists() is None, "the event loop of a fork is its own"
    sys.argv[1:] = children.serve()
    program.main()


if __name__ == "__main__":
    main()
