"""Words on the wire: control messages, task ids, and the names of the life-cycle's events."""

from __future__ import annotations

from enum import StrEnum

MAX_ID_BYTES = 512
LONGEST_NAME = 512  # bytes of a function's name


class Command(StrEnum):
    """The exact payloads of `task-<id>-control`; anything else is dropped."""

    STOP = "stop"
    START = "start"
    RELOAD = "reload"


STARTED = b"started"
"""On the control channel: the sender carries out a start by itself, so that none of the hearers has to.
They need to know of it, or a stop that is older than the start would be taken for a newer one."""

COMMANDS: dict[bytes, Command] = {command.encode(): command for command in Command}


class Event(StrEnum):
    """The events the life-cycle publishes on `task-<id>`; tasks add their own by `emit`."""

    RUNNING = "running"  # {"worker", "run", "epoch"}
    ENDED = "ended"  # {"output"}
    ERROR = "error"  # {"error"}: the text; the traceback is in the hash
    STOPPED = "stopped"
    REQUEUED = "requeued"  # {"reason"}: it waits in the queue again
    RELOADED = "reloaded"  # {"worker", "run", "epoch"}
    REFUSED = "reload-refused"  # {"path", "reason", "epoch"}: the data does not fit, the run goes on
    QUEUED = "queued"  # a start message put it back into the queue
    PARKED = "parked"  # {"function", "near"}: no worker here knows the function
    REJECTED = "rejected"  # {"reason"}: the pushed id cannot be a task
    STOP_TIMEOUT = "stop-timeout"  # {"seconds"}: it ignores a stop or a reload; still RUNNING


class IdFault(StrEnum):
    """Why a pushed id cannot be a task."""

    EMPTY = "empty id"
    LONG = "id over 512 bytes"
    ENCODING = "id is not UTF-8"
    CONTROL = "control character in id"
    RESERVED = "reserved name"
    NO_HASH = "no-hash"
    WRONG_TYPE = "wrong-type"
    LOCAL = "id of a pre-started task"


def read_id(raw: bytes, reserved: tuple[str, ...] = ("new-task", "pytask:")) -> str | IdFault:
    """The task id in `raw`, or why it cannot be one.

    The ids `new-task` and `pytask:...` would make pytask write `state` into its own keys.
    """
    if not raw:
        return IdFault.EMPTY
    if len(raw) > MAX_ID_BYTES:
        return IdFault.LONG
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return IdFault.ENCODING
    if not text.isprintable() and any(_is_control(char) for char in text):
        return IdFault.CONTROL
    queue, own = reserved
    if text == queue or text.startswith(own):
        return IdFault.RESERVED
    return text


def _is_control(char: str) -> bool:
    # C0, DEL and C1, and the two separators that break a log line.
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029"


def read_command(payload: object) -> Command | None:
    """The command in a pub/sub payload; None for anything but the three exact words."""
    return COMMANDS.get(payload) if isinstance(payload, bytes) else None


def is_control(payload: bytes) -> bool:
    """Whether a payload is one of the words of the control channels."""
    return payload in COMMANDS or payload == STARTED
