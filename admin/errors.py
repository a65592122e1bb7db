"""What commands end with when they can't do what they were asked to."""

from __future__ import annotations


class CommandError(Exception):
    """One line for people: what failed, and where to look. Ends the command with exit code 1."""
