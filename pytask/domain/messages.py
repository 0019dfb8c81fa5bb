"""Words on the wire: control messages, task ids, and the names of lifecycle events."""

from __future__ import annotations

from enum import StrEnum

MAX_ID_BYTES = 512
LONGEST_NAME = 512  # bytes of a function name


class Command(StrEnum):
    """The exact payloads of `task-<id>-control`; anything else is dropped."""

    STOP = "stop"
    START = "start"
    RELOAD = "reload"
    PAUSE = "pause"


STARTED = b"started"
"""On the control channel: the sender carries out a start itself, so that no receiver has to.  Receivers need
to know of it, or they would take a stop that is older than the start for a newer one."""

STACKS = b"stacks"
"""On the control channel: the owner of the run answers with the event `stacks`.  Nothing is stored."""

COMMANDS: dict[bytes, Command] = {command.encode(): command for command in Command}


class Event(StrEnum):
    """The lifecycle events on `task-<id>`; tasks add their own with `emit`."""

    RUNNING = "running"  # {"worker", "run", "epoch"}
    ENDED = "ended"  # {"output"}
    ERROR = "error"  # {"error"}: the text; the traceback is in the hash
    STOPPED = "stopped"
    REQUEUED = "requeued"  # {"reason"}: it is in the queue again
    RELOADED = "reloaded"  # {"worker", "run", "epoch"}, and {"in_place": true} if the run continues
    REFUSED = "reload-refused"  # {"path", "reason", "epoch"}: the data does not fit, the run continues
    ROLLED_BACK = (
        "rolled-back"  # {"reason", "epoch"}: its run failed soon after a reload, the old data is back
    )
    QUEUED = "queued"  # started again: it is in the queue
    PARKED = "parked"  # {"function", "near"}: no worker here knows the function
    REJECTED = "rejected"  # {"reason"}: the pushed id is not a task
    DELAYED = "delayed"  # {"delay"}: seconds; its time has not come, it waits in the timers
    WAITING = "waiting"  # {"kind", "name", "limit"}: a limit is reached, it waits for a slot
    RETRYING = "retrying"  # {"attempt", "delay", "error"}: it failed, and runs again after the delay
    PAUSED = "paused"  # it waits in the paused set, or a greenlet of it has reached a gate
    RESUMED = "resumed"  # it is in the queue again, or its greenlets go on
    STOP_TIMEOUT = "stop-timeout"  # {"seconds"}: it ignores a stop or a reload, and is still RUNNING
    STACKS = "stacks"  # {"run", "stacks", "more"}: where its greenlets and coroutines are, as was asked


class IdFault(StrEnum):
    """Why a pushed id is not a valid task id."""

    EMPTY = "empty id"
    LONG = "id over 512 bytes"
    ENCODING = "id is not UTF-8"
    CONTROL = "control character in id"
    RESERVED = "reserved name"
    NO_HASH = "no-hash"
    WRONG_TYPE = "wrong-type"
    LOCAL = "id of a pre-started task"


def read_id(raw: bytes, reserved: tuple[str, ...] = ("new-task", "pytask:")) -> str | IdFault:
    """The task id in `raw`, or why it is invalid.

    The ids `new-task` and `pytask:...` are reserved: pytask would write `state` into its own keys.
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
    # The control characters U+0000-U+001F, U+007F-U+009F, and the line separators U+2028 and U+2029.
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029"


def read_command(payload: object) -> Command | None:
    """The command in a pub/sub payload; None for anything except the three exact words."""
    return COMMANDS.get(payload) if isinstance(payload, bytes) else None


def is_control(payload: bytes) -> bool:
    """Whether a payload is a word of the control channels."""
    return payload in COMMANDS or payload in (STARTED, STACKS)
