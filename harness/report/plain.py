"""Text of others made fit for a terminal: what a service writes never steers it."""

from rich.markup import escape


def plain(text: str) -> str:
    """The text without control characters and without meaning to rich; line breaks stay.

    Escape sequences (ECMA-48, 7 and 8 bit), NUL, bells and carriage returns become spaces.
    """
    return escape("".join(char if char.isprintable() or char == "\n" else " " for char in text))
