"""The kinds of value that the document is made of, each with its parser from notation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from routing import notation
from routing.json_path import field_path, json_path

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"


def once(parse: Callable[[object], Any]) -> BeforeValidator:
    return BeforeValidator(parse)


def listed(value: object) -> object:
    """One value where a list is meant."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]


def _endpoint_text(value: object) -> str:
    return notation.endpoint(value).url


def _name(value: object) -> object:
    return value if value is None or isinstance(value, (dict, list)) else notation.text_of(value)


def _method(value: object) -> str:
    return notation.token(value).upper()


def _json_path(value: object) -> str:
    return json_path(notation.text_of(value)).text


def _field_path(value: object) -> str:
    return field_path(notation.text_of(value))


def _lower_token(value: object) -> str:
    return notation.token(value).lower()


def _percent_text(ratio: float) -> str:
    return f"{ratio * 100:.10g}%"


Text = Annotated[str, once(notation.text_of)]
Name = Annotated[str, Field(pattern=NAME_PATTERN), once(_name)]
Truth = Annotated[bool, once(notation.truth)]
Count = Annotated[int, once(notation.count)]
PositiveCount = Annotated[int, once(notation.positive_count)]
Number = Annotated[float, once(notation.number)]
Weight = Annotated[float, once(notation.weight)]  # judged further in check.py, which the admin API asks too
Seconds = Annotated[float, once(notation.duration)]
PositiveSeconds = Annotated[float, once(notation.positive_duration)]
Rate = Annotated[notation.Rate, once(notation.rate), PlainSerializer(str), WithJsonSchema({"type": "string"})]
Size = Annotated[int, once(notation.size)]
Memory = Annotated[Literal["auto"] | int, once(notation.memory)]
Percent = Annotated[float, once(notation.percent)]
Ratio = Annotated[float, once(notation.ratio), PlainSerializer(_percent_text), WithJsonSchema({"type": "string"})]
Fraction = Annotated[float, once(notation.fraction)]
Regex = Annotated[str, once(notation.regex)]
Cidr = Annotated[str, once(notation.cidr)]
FieldName = Annotated[str, once(notation.token)]
HeaderName = Annotated[str, once(_lower_token)]
JsonPathText = Annotated[str, once(_json_path)]
FieldPath = Annotated[str, once(_field_path)]
EndpointTemplate = Annotated[str, Field(pattern=r"^/[^?#\s]*$"), once(notation.text_of)]
Method = Annotated[str, once(_method)]
HostPattern = Annotated[str, once(notation.host_pattern)]
EndpointUrl = Annotated[str, once(_endpoint_text)]
Path = Annotated[str, Field(pattern=r"^(/[^?#\s]*|\*)$"), once(notation.text_of)]
Workers = Annotated[Literal["auto"] | int, once(notation.workers)]
RetryOn = Annotated[str | int, once(notation.retry_on)]
ListenAddress = Annotated[
    notation.Address, once(notation.address), PlainSerializer(str), WithJsonSchema({"type": "string"})
]
