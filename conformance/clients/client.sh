#!/bin/sh
# A producer, controller and watcher of a POSIX shell and redis-cli.
#
#     sh client.sh URL NAMESPACE PARTITIONS          ($REDIS_CLI names the program, else redis-cli)
#
# It speaks the kit's line protocol (conformance/README.md) on standard input and output.
url=$1 namespace=$2 partitions=$3
cli=${REDIS_CLI:-redis-cli}
tab=$(printf '\t')
dir=$(mktemp -d) || exit 1
watches=0
trap 'unwatch; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

redis() { "$cli" -u "$url" "$@" </dev/null; }

# -- names ------------------------------------------------------------------------------------------------

# CRC-16/XMODEM of the bytes of $1.
crc16() {
    crc=0
    for byte in $(printf %s "$1" | od -An -v -tu1); do
        crc=$((crc ^ byte << 8))
        for _ in 1 2 3 4 5 6 7 8; do
            if [ $((crc & 0x8000)) -ne 0 ]; then
                crc=$(((crc << 1 ^ 0x1021) & 0xFFFF))
            else
                crc=$((crc << 1 & 0xFFFF))
            fi
        done
    done
}

# What the keys of partition $1 begin with, in $space.
namespace_of() {
    space=$namespace
    [ "$partitions" -eq 1 ] && return
    case $namespace in
    *{?*}*) space=${namespace%%\}*}:$1\}${namespace#*\}} ;;
    *) space=$namespace{$1}: ;;
    esac
}

# The same for the task $1.
space_of() {
    crc16 "$1"
    namespace_of $((crc % partitions))
}

# -- verbs ------------------------------------------------------------------------------------------------

ok() { printf 'ok%s\n' "${1+$tab$1}"; }

# Runs redis-cli, which tells errors only by the text of its answer.
call() {
    answer=$(redis "$@" 2>&1) || { printf 'error\t%s\n' "$answer"; return 1; }
    case $answer in
    *ERR* | *WRONGTYPE* | *NOAUTH* | *READONLY* | *OOM*) printf 'error\t%s\n' "$answer"; return 1 ;;
    esac
}

# The hash first, the push last: a worker may take the id at once.
start() {
    space_of "$1"
    if [ $# -gt 2 ]; then
        call HSET "$space$1" function "$2" data "$3" || return
    else
        call HSET "$space$1" function "$2" || return
    fi
    call LPUSH "${space}new-task" "$1" && ok
}

update() {
    space_of "$1"
    call HSET "$space$1" data "$2" && ok
}

control() {
    space_of "$1"
    case $2 in
    stop | start | reload | pause) call PUBLISH "${space}task-$1-control" "$2" && ok ;;
    *) printf 'error\tthere are stop, start, reload, pause\n' ;;
    esac
}

get() {
    space_of "$1"
    if [ "$(redis HEXISTS "$space$1" "$2")" != 1 ]; then
        ok
        return
    fi
    ok "$(redis HGET "$space$1" "$2" | sed -e 's/\\/\\\\/g' -e "s/$tab/\\\\t/g" |
        awk '{ printf "%s%s", (NR > 1 ? "\\n" : ""), $0 }')"
}

remove() {
    space_of "$1"
    call DEL "$space$1" && ok
}

watch() {
    watches=$((watches + 1))
    mkfifo "$dir/heard$watches" "$dir/ready$watches"
    listen "$1" "$watches" &
    echo $! >"$dir/reader$watches"
    read -r _ <"$dir/ready$watches"
    ok
}

# Subscribes, and again when the connection is lost; what came meanwhile is not known.
listen() {
    if [ "$1" = '*' ]; then
        number=0
        set -- "$1" "$2" PSUBSCRIBE
        while [ "$number" -lt "$partitions" ]; do
            namespace_of "$number"
            set -- "$@" "$(printf %s "$space" | sed 's/[][\\*?]/\\&/g')task-*"
            number=$((number + 1))
        done
    else
        space_of "$1"
        set -- "$1" "$2" SUBSCRIBE "${space}task-$1"
    fi
    this=$2 first=1
    shift 2
    while :; do
        redis "$@" >"$dir/heard$this" 2>/dev/null &
        echo $! >"$dir/cli$this"
        hear $(($# - 1)) <"$dir/heard$this"
        sleep 0.1
    done
}

# redis-cli prints each part of a message on a line of its own; JSON of events has no line breaks.
hear() {
    left=$1
    while IFS= read -r kind; do
        case $kind in
        pmessage) IFS= read -r _ && IFS= read -r channel && IFS= read -r payload && heard ;;
        message) IFS= read -r channel && IFS= read -r payload && heard ;;
        psubscribe | subscribe)
            IFS= read -r _ && IFS= read -r _
            left=$((left - 1))
            [ "$left" -eq 0 ] || continue
            if [ "$first" ]; then echo >"$dir/ready$this"; else echo gap; fi
            first=
            ;;
        esac
    done
}

heard() {
    # A control message: `task-*` matches those channels, too.
    case $payload in '{"event":'*) ;; *) return ;; esac
    number=0
    while [ "$number" -lt "$partitions" ]; do
        namespace_of "$number"
        case $channel in "${space}task-"*)
            printf 'event\t%s\t%s\n' "${channel#"${space}task-"}" "$payload"
            return
            ;;
        esac
        number=$((number + 1))
    done
}

unwatch() {
    while [ "$watches" -gt 0 ]; do
        # The reader first, or it would subscribe again.
        kill -9 "$(cat "$dir/reader$watches")" 2>/dev/null
        kill "$(cat "$dir/cli$watches")" 2>/dev/null
        rm -f "$dir/heard$watches" "$dir/ready$watches"
        watches=$((watches - 1))
    done
}

# -- the kit's line protocol ------------------------------------------------------------------------------

while IFS="$tab" read -r verb one two three; do
    case $verb in
    where)
        space_of "$one"
        ok "$space"
        ;;
    start) if [ "$three" ]; then start "$one" "$two" "$three"; else start "$one" "$two"; fi ;;
    update) update "$one" "$two" ;;
    control) control "$one" "$two" ;;
    get) get "$one" "$two" ;;
    remove) remove "$one" ;;
    watch) watch "$one" ;;
    unwatch)
        unwatch
        ok
        ;;
    *) printf 'error\tno such verb: %s\n' "$verb" ;;
    esac
done
