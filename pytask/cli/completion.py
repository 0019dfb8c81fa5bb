"""Shell completion: the scripts that shells load, and the answers to them.

The shell hands over its line up to the cursor.  Whatever goes wrong, the answer is shorter, or empty: nothing
but candidates is printed, as all of it would end up in the prompt.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

VARIABLE = "_PYTASK_COMPLETE"
PLAIN = frozenset("_-.:/@%+,=")  # needs no quoting within a word; letters and digits do not, either
QUOTED = frozenset("'\"\\$`!")  # has a meaning, or ends the word, within quotation marks

BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CURRENT="$2" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a completions described response
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1

    response=("${(@f)$(env COMP_WORDS="${(j: :)words[1,CURRENT]}" \
%(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")

    for type key descr in ${response}; do
        case $type in
            plain) [[ $descr == _ ]] && completions+=("$key") || described+=("$key:$descr") ;;
            dir) _path_files -/ ;;
            file) _path_files -f ;;
        esac
    done

    (( $#described )) && _describe -V unsorted described -U
    (( $#completions )) && compadd -U -V unsorted -a completions
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \
%(prog_name)s 2>/dev/null)
    for completion in $response
        set -l metadata (string split --max 1 "," -- $completion)
        switch $metadata[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain
                printf '%%s\\n' $metadata[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class Line(ShellComplete):
    """Reads the line up to the cursor, with its quotation marks; the last word is the incomplete one."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the incomplete one, and that one."""
        words = split_words(os.environ["COMP_WORDS"])
        return [os.path.expandvars(word) for word in words[1:-1]], words[-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The candidates, each as a whole word."""
        start, equals, _ = incomplete.partition("=")
        found = super().get_completions(args, incomplete)
        if equals and start.startswith("-"):
            for item in found:
                item.value = f"{start}={item.value}" if item.type == "plain" else item.value
        return found


class Bash(Line, BashComplete):
    """Bash: it quotes nothing, and replaces the last word only from its last `:` or `=`."""

    source_template = BASH

    def complete(self) -> str:
        """One line for each candidate: its type, and what is to replace the end of the word."""
        line = os.environ["COMP_WORDS"]
        args, word = self.get_completion_args()
        found = self.get_completions(args, word)
        if is_open(line):
            rows = [(item.type, item.value) for item in found if not QUOTED & set(item.value)]
            return "\n".join(f"{kind},{value}" for kind, value in rows)
        current = split_words(os.environ.get("COMP_CURRENT", word))[-1]
        kept = word.removesuffix(current) if word.endswith(current) else ""
        rows = [
            (item.type, backslashed(item.value.removeprefix(kept)))
            for item in found
            if item.type != "plain" or item.value.startswith(kept)
        ]
        return "\n".join(f"{kind},{value}" for kind, value in rows)


class Zsh(Line, ZshComplete):
    """Zsh: it quotes what it inserts."""

    source_template = ZSH


class Fish(Line, FishComplete):
    """Fish: it quotes what it inserts."""

    source_template = FISH


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def split_words(line: str) -> list[str]:
    """The words of an unfinished line as the program would get them; the last one is "" after a space."""
    words = split_arg_string(line)
    return words if len(split_arg_string(line + "x")) == len(words) else [*words, ""]


def is_open(line: str) -> bool:
    """Whether the line ends within quotation marks."""
    try:
        shlex.split(line)
    except ValueError as error:
        return "quotation" in str(error)
    return False


def backslashed(word: str) -> str:
    """The word as bash reads it outside of quotation marks."""
    return "".join(char if char.isalnum() or char in PLAIN else f"\\{char}" for char in word)


def script(root: click.Command, shell: str) -> str:
    """The completion script of a shell."""
    made = SHELLS[shell](root, {}, "pytask", VARIABLE)
    return made.source_template % made.source_vars()


def answer(root: click.Command) -> None:
    """Print the candidates for the line of a shell, if one asked, and exit."""
    shell, _, instruction = os.environ.get(VARIABLE, "").partition("_")
    if instruction != "complete" or shell not in SHELLS:
        return
    with (
        suppress(BaseException),  # also an interrupt: the shell goes on with its own line
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stderr(nowhere),
    ):
        text = SHELLS[shell](root, {}, "pytask", VARIABLE).complete()
        sys.stdout.buffer.write(f"{text}\n".encode() if text else b"")
        sys.stdout.flush()
    os._exit(0)  # without waiting for an answer of Redis that comes too late
