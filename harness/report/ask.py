"""One question on the terminal, before something is changed."""

import typer


def agreed(question: str) -> bool:
    """Whether the user says yes; Ctrl-C and the end of the input are a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
