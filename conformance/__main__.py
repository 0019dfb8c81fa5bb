"""Plays the transcripts with the clients that are here, or with yours.

    python -m conformance                               all clients of conformance/clients that can run
    python -m conformance --client sh --client python
    python -m conformance --command "ruby my_client.rb"

The exit code is 0 if every transcript was passed by every client that was asked for, 1 if one was not, 2 if
a client that was asked for by name cannot run here, 69 if there is no server.
"""

import argparse
import sys
import time
import uuid

import redis

from conformance import clients
from conformance.program import Failed, Program, Unsupported
from conformance.stage import SPACES, Stage, clean_environment
from conformance.transcript import WITHIN, Player, all_transcripts
from pytask.domain.errors import PytaskError
from pytask.domain.version import PROTOCOL

FAILED, CANNOT, NO_SERVER = 1, 2, 69


def main():
    options = arguments()
    transcripts = all_transcripts(options.only)
    if options.list:
        for one in transcripts:
            print(f"{one.name:<26} {one.space:<7} {one.shows}")
        return 0
    chosen, missing = clients.choose(options.client, options.command, may_install=options.install)
    for name, why in missing.items():
        print(f"{name}: skipped: {why}")
    if not transcripts or not chosen or (missing and options.client):
        print("nothing to do" if not missing else "", file=sys.stderr)
        return CANNOT
    began = time.monotonic()
    try:
        with Stage(options.redis) as stage:
            results = {
                name: play_all(stage, name, client, transcripts, options.within)
                for name, client in chosen.items()
            }
    except (PytaskError, redis.RedisError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return NO_SERVER
    report(transcripts, results, time.monotonic() - began)
    return FAILED if any(any(result.values()) for result in results.values()) else 0


def arguments():
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--client", action="append", default=[], choices=list(clients.KNOWN))
    parser.add_argument("--command", action="append", default=[], help="a client of yours (may be repeated)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="transcripts with TEXT in the name"
    )
    parser.add_argument(
        "--redis", metavar="URL", help="a server of yours, for tests alone [default: a private one]"
    )
    parser.add_argument("--install", action="store_true", help="let npm fetch ioredis into the cache")
    parser.add_argument(
        "--within", type=float, default=WITHIN, metavar="SECONDS", help="[default: %(default)g]"
    )
    parser.add_argument("--list", action="store_true", help="list the transcripts")
    return parser.parse_args()


def play_all(stage, name, client, transcripts, within):
    """What went wrong, for each transcript: "" if nothing did."""
    found = {}
    for space in SPACES:
        ours = [one for one in transcripts if one.space == space]
        if ours:
            stage.worker(space)
            found |= play_space(stage, name, client, space, ours, within)
    return found


def play_space(stage, name, client, space, transcripts, within):
    """The same, for the transcripts of one space, with one run of the client for as long as it behaves."""
    found, program = {}, None
    log_path = stage.folder / f"{name.replace('/', '_').replace(' ', '_')[:60]}.log"
    with log_path.open("w+", errors="replace") as log:
        for transcript in transcripts:
            program = program or Program(
                client.command,
                stage.url,
                *SPACES[space],
                log=log,
                env=clean_environment(**client.environment),
            )
            found[transcript.name] = why = play(Player(stage, program, space, within), transcript)
            if why:
                found[transcript.name] += said(log)
                program = program.close()
        if program:
            program.close()
    return found


def play(player, transcript):
    """What went wrong; None where the client does not offer what the transcript needs."""
    try:
        player.play(transcript, uuid.uuid4().hex[:6])
    except Failed as why:
        return f"transcripts/{transcript.name}.jsonl, {why}"
    except Unsupported:
        return None
    return ""


def said(log):
    """The end of the client's standard error."""
    log.seek(0)
    lines = log.read().splitlines()[-10:]
    return "\n".join(["", "the client's standard error:", *lines]) if lines else ""


def report(transcripts, results, seconds):
    """A table, then what went wrong."""
    width = max(len(one.name) for one in transcripts)
    names = list(results)
    print("  ".join([" " * width, *names]).rstrip())
    for one in transcripts:
        marks = [mark(results[name][one.name]).ljust(len(name)) for name in names]
        print("  ".join([one.name.ljust(width), *marks]).rstrip())
    failures = [(name, one.name) for name in names for one in transcripts if results[name][one.name]]
    for name, transcript in failures:
        print(f"\n--- {name}: {results[name][transcript]}")
    played = [why for result in results.values() for why in result.values() if why is not None]
    missing = sum(len(result) for result in results.values()) - len(played)
    counted = f"{len(played) - len(failures)} passed, {len(failures)} failed, {missing} not offered"
    print(f"\n{counted}, in {seconds:.1f} s; wire protocol {PROTOCOL}")


def mark(why):
    """How a transcript went, in a word."""
    return "not offered" if why is None else "FAILED" if why else "ok"


if __name__ == "__main__":
    sys.exit(main())
