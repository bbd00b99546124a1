"""What runs on the board: scripts for any POSIX shell, busybox's and Android's as well.

One script, ``HOLD``, makes a folder and holds it as long as the connection that it runs over lasts:
its standard input ends when the host closes it, when the connection is cut, when the host's process
is killed. Then it kills what still runs in the folder, and removes it. The others work in that
folder.
"""

from __future__ import annotations

import re

#: What begins the line that HOLD prints; what a login script printed comes before.
HELD = "tvmcomp-board "
#: The line after which the output of a program, or a file, begins.
STARTED = "tvmcomp-start"
#: What no semicolon may follow.
_GOES_ON = ("{", "(", "&", "do", "then")
#: Exit statuses of our own: there is no folder to be made; it is gone, or nothing can be written.
NO_FOLDER, NOT_WRITABLE = 96, 97

#: Processes that PID files with names of ``$1`` tell of: the shell's group, and the program.
_KILL = """\
end_processes() {
  for file in "$folder"/pid."$1"*; do
    pids=${file##*/pid.*-}
    kill -9 "-${pids%.*}" "${pids#*.}"
  done 2>/dev/null
}
"""

#: Arguments: the folder to make it in, or ""; seconds after which it is removed all the same. A
#: connection may be cut without the board's knowledge.
HOLD = f"""\
export LC_ALL=C
umask 077
base=${{1:-${{TMPDIR:-/tmp}}}}
folder=$(mktemp -d "$base/tvmcomp-XXXXXX") || exit {NO_FOLDER}
{_KILL}
end() {{
  trap '' HUP INT TERM PIPE
  kill "$held" "$timer" 2>/dev/null
  end_processes ''
  rm -rf "$folder"
}}
exec 3<&0
cat <&3 >/dev/null 2>&1 &
held=$!
(
  trap 'kill "$nap"; exit' TERM
  sleep "$2" &
  nap=$!
  wait "$nap"
  kill "$held"
) <&- >/dev/null 2>&1 &
timer=$!
exec 3<&-
trap end EXIT
trap 'exit 1' HUP INT TERM PIPE
siblings='/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list'
cores=$(cat $siblings 2>/dev/null | sort -u | wc -l)
usable=$(nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo)
printf '%s\\n' "{HELD}$(uname -m) $((cores)) $((usable)) $folder"
wait "$held"
"""

#: Arguments: the folder, a file's name. Its bytes come by standard input; their number is printed.
TAKE = f"""\
cd "$1" || exit {NOT_WRITABLE}
cat >"$2" && chmod 700 "$2" && wc -c <"$2"
"""

#: Arguments: the folder, a file that was copied there.
ALLOW = 'cd "$1" && chmod 700 "$2"\n'

#: Arguments: the folder, a word for the PID file, the command. It gets standard input, and its exit
#: status is the script's: 128 and more for a signal, which ssh itself would not tell.
RUN = f"""\
cd "$1" || exit {NOT_WRITABLE}
word=$2
shift 2
exec 3<&0
echo {STARTED}
"$@" <&3 3<&- &
pid=$!
exec 3<&-
file="pid.$word-$$.$pid"
if ! true >"$file"; then
  kill -9 "$pid"
  exit {NOT_WRITABLE}
fi
wait "$pid"
status=$?
rm -f "$file"
exit "$status"
"""

#: Arguments: the folder, the word that RUN was given.
STOP = f"""\
folder=$1
{_KILL}
end_processes "$2-"
"""

#: Arguments: the folder, names of files in it.
REMOVE = """\
cd "$1" && shift && rm -f -- "$@"
"""

#: Argument: a file. Prints its bytes.
READ = f'echo {STARTED} && cat <"$1"\n'


def call(script: str, *arguments: str) -> str:
    """The line for the shell of a login, whichever that is, that runs ``script`` in ``sh``."""
    words = [_one_line(script), "sh", *arguments]
    return " ".join(["exec sh -c", *map(quoted, words)])


def quoted(word: str) -> str:
    """A word as POSIX shells, csh and fish read it: between single quotes csh takes ``!`` for
    something else, and fish ``\\``."""
    return "'" + re.sub(r"(['!\\])", r"'\\\1'", word) + "'"


def _one_line(script: str) -> str:
    """The script in a line, as csh lets none end between quotes."""
    text = ""
    for line in filter(None, script.splitlines()):
        text += line.strip() + (" " if line.endswith(_GOES_ON) else "; ")
    return text.removesuffix("; ")
