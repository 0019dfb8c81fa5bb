"""What the processes of the site use: waiting for results, and showing them."""

import json
import time

PATIENCE = 60.0


def over(result):
    """The result once it is finished."""
    deadline = time.monotonic() + PATIENCE
    while not result.is_finished:
        assert time.monotonic() < deadline, result
        time.sleep(0.02)
        result.refresh()
    return result


def shown(result):
    """A result as JSON."""
    return {
        "id": result.id,
        "status": str(result.status.value),
        "queue": result.task.queue_name,
        "times": [
            None if at is None else at.isoformat()
            for at in (result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at)
        ],
        "attempts": result.attempts,
        "worker_ids": result.worker_ids,
        "errors": [[one.exception_class_path, one.traceback] for one in result.errors],
        "value": result.return_value if result.status == "SUCCESSFUL" else None,
        "args": [result.args, result.kwargs],
    }


def say(value):
    print(json.dumps(value))
