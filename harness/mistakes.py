"""Wording of the mistakes in a file that a pydantic model describes: each with its key and what is allowed."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

SHOWN_CHARACTERS = 60
_Location = tuple[str | int, ...]


class Wording:
    """Says what is wrong in the words of one model.

    `tables` maps the key of each table below the model to its own model; `hidden` are fields that are no keys.
    """

    def __init__(
        self, model: type[BaseModel], tables: Mapping[str, type[BaseModel]], *, hidden: Collection[str] = ()
    ) -> None:
        self._model = model
        self._tables = tables
        self._hidden = hidden

    def of(self, error: ValidationError) -> list[str]:
        """One line for each mistake in a key, in the order of the model; those of the file as a whole are not said."""
        # A list whose items have mistakes is also said to be too short: that is no mistake of its own.
        kept = [item for item in error.errors() if item["loc"] and (item["type"] != "too_short" or not item["input"])]
        return [self._line(item) for item in kept]

    def unknown(self, location: _Location) -> str:
        """A key that does not exist, with the nearest one that does."""
        fields = self._model_at(location).model_fields
        allowed = sorted(name for name in fields if name not in self._hidden)
        return f"{_key(location)}: unknown key{meant(str(location[-1]), allowed)} (allowed: {', '.join(allowed)})"

    def _line(self, error: Any) -> str:
        location = error["loc"]
        if error["type"] == "extra_forbidden":
            return self.unknown(location)
        if error["type"] == "missing":
            return f"{_key(location)}: is required"
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "string_pattern_mismatch":
            message = self._purpose(location) or message
        got = repr(error.get("input"))
        shown = got if len(got) <= SHOWN_CHARACTERS else got[: SHOWN_CHARACTERS - 3] + "..."
        return f"{_key(location)}: {message} (got {shown})"

    def _purpose(self, location: _Location) -> str:
        """What a key is for, which says more than the pattern that its value does not match."""
        field = self._model_at(location).model_fields.get(str(location[-1]))
        return f"does not fit: {field.description}" if field and field.description else ""

    def _model_at(self, location: _Location) -> type[BaseModel]:
        model = self._model
        for part in location[:-1]:
            model = self._tables.get(str(part), model)
        return model


def meant(name: str, known: Sequence[str]) -> str:
    """`; did you mean NAME?` where one that is known is near, else empty."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _key(location: _Location) -> str:
    return ".".join(map(str, location)) or "(file)"
