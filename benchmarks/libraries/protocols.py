"""Mail, directories, shells and name resolution."""

from __future__ import annotations

from benchmarks.libraries.cases import Call, Peers, case, wait
from benchmarks.libraries.peers import HOST


@case("smtplib, with SMTP()", peer="smtp", do="`close()` in `finally` instead")
def smtp(at: Peers) -> Call:
    from smtplib import SMTP

    def call(seconds: float, word: str) -> str:
        with SMTP(HOST, at["smtp"]) as line:
            return line.verify(wait(seconds, word))[1].decode()

    return call


@case("poplib", peer="pop3", do="close it in `finally`")
def pop3(at: Peers) -> Call:
    from contextlib import closing
    from poplib import POP3

    def call(seconds: float, word: str) -> str:
        with closing(POP3(HOST, at["pop3"])) as line:
            return line.uidl(wait(seconds, word)).decode().split()[-1]

    return call


@case("imaplib, with IMAP4()", peer="imap", do="`shutdown()` in `finally` instead")
def imap(at: Peers) -> Call:
    from imaplib import IMAP4

    def call(seconds: float, word: str) -> str:
        with IMAP4(HOST, at["imap"]) as line:
            line.login("u", "p")
            return line.status(wait(seconds, word), "(MESSAGES)")[1][0].decode().split()[0]

    return call


@case("IMAPClient, idle_check()", "IMAPClient", peer="imap", do="`shutdown()` in `finally`")
def imapclient_idle(at: Peers) -> Call:
    from imapclient import IMAPClient

    def call(seconds: float, word: str) -> None:
        line = IMAPClient(HOST, at["imap"], ssl=False)
        try:
            line.login("u", "p")
            line.select_folder("INBOX")
            line.idle()
            line.idle_check(timeout=seconds)
            line.idle_done()
        finally:
            line.shutdown()

    return call


@case("ftplib", peer="ftp", do="close it in `finally`")
def ftp(at: Peers) -> Call:
    from contextlib import closing
    from ftplib import FTP

    def call(seconds: float, word: str) -> str:
        with closing(FTP()) as line:
            line.connect(HOST, at["ftp"])
            line.login("u", "p")
            return line.sendcmd(f"STAT {wait(seconds, word)}").split()[-1]

    return call


@case("socket", peer="tcp", do="`with` around it")
def plain(at: Peers) -> Call:
    import socket

    def call(seconds: float, word: str) -> str:
        with socket.create_connection((HOST, at["tcp"])) as line, line.makefile("rw") as file:
            print(wait(seconds, word), file=file, flush=True)
            return file.readline().strip()

    return call


@case("ldap3", "ldap3", peer="ldap", do="`unbind()` in `finally`")
def ldap3_search(at: Peers) -> Call:
    from ldap3 import NONE, Connection, Server

    server = Server(HOST, at["ldap"], get_info=NONE)

    def call(seconds: float, word: str) -> str:
        line = Connection(server, auto_bind=True, check_names=False)
        try:
            line.search(f"cn={wait(seconds, word)}", "(objectClass=*)")
            return line.result["message"]
        finally:
            line.unbind()

    return call


@case("paramiko, one a task, closed", "paramiko", peer="ssh", do="close it in `finally`")
def paramiko_closed(at: Peers) -> Call:
    def call(seconds: float, word: str) -> str:
        client = _ssh(at)
        try:
            return client.exec_command(wait(seconds, word))[1].read().decode()
        finally:
            client.close()

    return call


@case("paramiko, one a task, not closed", "paramiko", peer="ssh", do="close it in `finally`")
def paramiko_left(at: Peers) -> Call:
    def call(seconds: float, word: str) -> str:
        return _ssh(at).exec_command(wait(seconds, word))[1].read().decode()

    return call


def _ssh(at: Peers) -> object:
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        HOST, at["ssh"], "u", "p", allow_agent=False, look_for_keys=False, banner_timeout=60, auth_timeout=60
    )
    return client


@case(
    "asyncssh, one loop for all in a thread",
    "asyncssh",
    peer="ssh",
    shared=True,
    do="make it at import; cancel",
)
def asyncssh_loop(at: Peers) -> Call:
    import asyncssh

    from benchmarks.libraries.loops import loop_for_all

    run = loop_for_all()
    lines: list[asyncssh.SSHClientConnection] = []

    async def answer(command: str) -> str:
        return (await lines[0].run(command)).stdout

    async def connect() -> None:
        named = {"username": "u", "password": "p", "known_hosts": None, "client_keys": None}
        lines.append(await asyncssh.connect(HOST, at["ssh"], **named))

    run(connect())
    return lambda seconds, word: run(answer(wait(seconds, word)))


@case("dnspython", "dnspython", peer="dns", shared=True, do="")
def dnspython(at: Peers) -> Call:
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [HOST], at["dns"], 60
    resolver.timeout = 60

    def call(seconds: float, word: str) -> str:
        name = wait(seconds, word) + ".test."
        return resolver.resolve(name, "TXT")[0].strings[0].decode()

    return call


@case("irc, Reactor", "irc", peer="irc", do="close it in `finally`")
def irc_reactor(at: Peers) -> Call:
    import irc.client

    def call(seconds: float, word: str) -> str:
        reactor, received = irc.client.Reactor(), []
        line = reactor.server().connect(HOST, at["irc"], "someone")
        try:
            line.add_global_handler("welcome", lambda c, e: c.privmsg("other", wait(seconds, word)))
            line.add_global_handler("privmsg", lambda c, e: received.append(e.arguments[0]))
            while not received:
                reactor.process_once(0.1)
            return received[0]
        finally:
            line.close()

    return call
