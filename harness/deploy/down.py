"""Taking a change back from a unit that is down: there is no working state to guard."""

import contextlib

from harness.deploy.change import Change, require_unchanged, status_of, undisturbed
from harness.deploy.manager import Manager, State
from harness.errors import RolledBackError
from harness.results.store import write_whole


def put_back(manager: Manager, before: str | None, text: str | None, *, start: bool, timeout_s: float) -> State:
    """Make `text` (None: nothing) the lasting drop-in of a unit that is down instead of `before`; its state after that.

    Nothing holds a way back: what is taken away may be what keeps the unit down, so it goes whatever comes of it.
    With `start` the unit is started. Raises RolledBackError when it is still down then, UsageError when the drop-in is
    not `before` any more or another change of it is under way.
    """
    change = Change(manager, text, within_s=timeout_s)
    kept, problem = change.places.kept, ""
    with change.alone(), undisturbed():
        require_unchanged(manager.unit, before)
        if text is None:
            kept.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                kept.parent.rmdir()
        else:
            write_whole(kept, text)
        manager.reload()
        if start:
            manager.run(["systemctl", "reset-failed", "--", manager.unit])
            problem = manager.restart(timeout_s)
        state = manager.state()
    if start and (problem or not state.up):
        raise RolledBackError(problem or f"{manager.unit} is {state}", hint=status_of([manager.unit]))
    return state
