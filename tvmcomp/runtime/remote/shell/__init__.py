"""Boards that have a shell and a writable folder, and nothing of ours: over ssh, or adb."""
