"""A stand-in for adb, Android's debug bridge: its "device" is this machine.

It takes what the product gives to the real one: ``adb -s SERIAL shell -T LINE`` and ``adb -s SERIAL
push FILE PLACE``; as there, what runs has a session of its own and its exit status is passed on.
"""

from __future__ import annotations

from pathlib import Path

SERIAL = "emulator-5554"

_SCRIPT = f"""\
#!/bin/sh
if [ "$1 $2" != "-s {SERIAL}" ]; then
  echo "adb: device '$2' not found" >&2
  exit 1
fi
shift 2
case "$1 $2" in
  "shell -T") exec setsid --wait sh -c "$3" ;;
  push*) cp "$2" "$3" && echo "$2: 1 file pushed" ;;
  *) exit 1 ;;
esac
"""


def write_adb(folder: Path) -> None:
    """Write the program ``adb`` to ``folder``."""
    path = folder / "adb"
    path.write_text(_SCRIPT)
    path.chmod(0o755)
