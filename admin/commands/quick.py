"""Texts, choices and flags on the command line without pydantic.

typer (0.29) makes a pydantic adapter for every parameter, which doubles the time that `headgate cutback` takes: 70 of
140 ms where this was measured. So parameters that are plain texts, lists of texts, choices or flags get this instead.
It sets an attribute that typer fills on first use; should a later typer do that otherwise, the attribute has no effect,
commands start slower, and tests/cli/test_imports.py says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer
from typer.core import TyperCommand


class QuickCommand(TyperCommand):
    """A command whose parameters are coerced without pydantic where that will do."""

    def get_params(self, ctx: Any) -> list[Any]:
        return quick(super().get_params(ctx))


def quick(parameters: list[Any]) -> list[Any]:
    """The same parameters, those of simple types with the quick coercion."""
    for parameter in parameters:
        annotation = parameter.type_descriptor.annotation
        if annotation in (str, list[str], bool) or (isinstance(annotation, type) and issubclass(annotation, StrEnum)):
            parameter._runtime_param = _Quick(annotation)
    return parameters


class _Quick:
    """What typer asks of a RuntimeParam."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if self.annotation == list[str]:
            return list(value or ())
        if value is None or self.annotation in (str, bool):
            return value
        try:
            return self.annotation(value)
        except ValueError:
            choices = ", ".join(self.annotation)
            raise typer.BadParameter(f"{value!r} is not one of {choices}", ctx=ctx, param=param) from None
