"""The filter language of `list`: `state=failed and (attempts>2 or label.user~'a*')`.

    FILTER      comparisons joined by `and`, `or`, `not` and parentheses; `not` binds tightest, then `and`
    COMPARISON  KEY OP VALUE · KEY in (VALUE, …) · KEY not in (VALUE, …) · a flag alone (`paused`)
    OP          = != < <= > >= · ~ !~ for text: like this glob, or not
    KEY         those of `attributes.KINDS`, `label.NAME` and `needs.RESOURCE`
    VALUE       a word, or text in quotes; `none` stands for an absent value

An absent value is unequal to any value, and neither less nor greater. Values have the type of their key: durations
`10s` or `1h30m`; times ISO 8601, `now`, or relative to now (`2h`: two hours ago; `+2h`: in two hours); states, reasons,
signals and workers by name. Parsed by Lark, which is imported on first use.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Literal, NamedTuple

from queuectl_client.protocol import filtervalues
from queuectl_client.protocol.attributes import KINDS, ValueKind
from queuectl_client.protocol.checks import BadParams, Check, shown, unknown
from queuectl_client.protocol.filtervalues import Ago
from queuectl_client.protocol.spelling import snake_case

MAX_LENGTH: Final = 2_000
MAX_WORDS: Final = 200
"""Keys and values in a filter; each may be evaluated for every scanned job."""
MAX_DEPTH: Final = 20
"""Nesting of `and`, `or` and `not`, far below the limits of SQLite and Python."""

MAX_GLOB: Final = 256
"""Characters of a glob: the time to match one is proportional to its length times that of the text."""

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "not in"]
Value = str | int | float | bool | Ago | None

OPERATORS: Final[dict[ValueKind, tuple[Operator, ...]]] = {
    ValueKind.TEXT: ("=", "!=", "~", "!~", "in", "not in"),
    ValueKind.NUMBER: ("=", "!=", "<", "<=", ">", ">=", "in", "not in"),
    ValueKind.DURATION: ("=", "!=", "<", "<=", ">", ">="),
    ValueKind.TIME: ("<", "<=", ">", ">="),
    ValueKind.STATE: ("=", "!=", "in", "not in"),
    ValueKind.SIGNAL: ("=", "!=", "in", "not in"),
    ValueKind.REASON: ("=", "!=", "in", "not in"),
    ValueKind.WORKER: ("=", "!=", "in", "not in"),
    ValueKind.FLAG: ("=", "!="),
}


class Key(NamedTuple):
    """The key of a comparison. `part`: the NAME in `label.NAME` and `needs.NAME`."""

    name: str
    kind: ValueKind
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares a key with one value, or several for `in` and `not in`. None: absent."""

    key: Key
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class All:
    """Conjunction."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Disjunction."""

    parts: tuple["Filter", ...]


Filter = Comparison | Not | All | Either

_GRAMMAR: Final = r"""
    ?either: all (_OR all)*
    ?all: inner (_AND inner)*
    ?inner: _NOT inner -> inverse
          | "(" either ")"
          | comparison
    comparison: KEY OPERATOR value             -> compare
              | KEY _IN _values                -> within
              | KEY _NOT _IN _values           -> without
              | KEY                            -> flag
    _values: "(" value ("," value)* ")"
    value: WORD | QUOTED

    _AND.2: /and(?![\w.-])/i
    _OR.2: /or(?![\w.-])/i
    _NOT.2: /not(?![\w.-])/i
    _IN.2: /in(?![\w.-])/i
    KEY: /[A-Za-z_][\w-]*(\.([^\s()<>=!~,'"]+|'([^'\\]|\\.)*'|"([^"\\]|\\.)*"))?/
    OPERATOR: "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"
    WORD: /[^\s()<>=!~,'"]+/
    QUOTED: /'([^'\\]|\\.)*'|"([^"\\]|\\.)*"/
    %ignore /\s+/
"""
_WORDS: Final = {
    "_AND": "and", "_OR": "or", "_NOT": "not", "_IN": "in", "KEY": "a key", "OPERATOR": "an operator (= != < > ~)",
    "WORD": "a value", "QUOTED": "a value", "LPAR": "(", "RPAR": ")", "COMMA": ",", "$END": "the end",
}  # fmt: skip
"""Names of the grammar's symbols in errors."""


def text(key: str, value: Any) -> str:
    """Check the text of a filter. Raise BadParams with the `position`, from 0, in its data."""
    if not isinstance(value, str) or not value.strip():
        raise BadParams(f"invalid {key}: {shown(value)}; expected a filter such as 'state=failed and attempts>2'", key)
    if len(value) > MAX_LENGTH:
        raise BadParams(f"{key} has {len(value):,} characters; at most {MAX_LENGTH:,} are allowed", key)
    parse(value)
    return value


@lru_cache(maxsize=64)
def parse(source: str) -> Filter:
    """Parse a filter. Raise BadParams that names the position and what is expected there."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

    try:
        tree = _parser().parse(source)
    except UnexpectedToken as error:
        at = len(source) if error.token.type == "$END" else error.token.start_pos or 0
        raise _misread(source, at, error.accepts or error.expected) from None
    except UnexpectedCharacters as error:
        place: Any = error.pos_in_stream  # typed as always None
        raise _misread(source, place, error.allowed or ()) from None
    except UnexpectedEOF as error:
        raise _misread(source, len(source), error.expected) from None
    if sum(1 for _ in tree.scan_values(lambda token: token.type != "OPERATOR")) > MAX_WORDS:
        raise BadParams(f"the filter has more than {MAX_WORDS} keys and values", "filter")
    return _read(tree)


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(_GRAMMAR, start="either", parser="lalr", propagate_positions=True, maybe_placeholders=False)


def _misread(source: str, at: int, expected: Iterable[str]) -> BadParams:
    words = [word for symbol, word in _WORDS.items() if symbol in expected]
    allowed = f"; expected {', '.join(dict.fromkeys(words))}" if words else ""
    found = f"near {shown(source[at : at + 20])}" if at < len(source) else "at its end"
    return _at(at, f"invalid filter {found}{allowed}")


def _at(position: int, message: str) -> BadParams:
    return BadParams(f"{message} (character {position + 1})", "filter", {"key": "filter", "position": position})


def _read(node: Any, depth: int = 0) -> Filter:
    """Return the filter of a parse tree."""
    if depth > MAX_DEPTH:
        raise BadParams(f"the filter nests and, or and not more than {MAX_DEPTH} deep", "filter")
    match node.data:
        case "either":
            return Either(tuple([_read(child, depth + 1) for child in node.children]))
        case "all":
            return All(tuple([_read(child, depth + 1) for child in node.children]))
        case "inverse":
            return Not(_read(node.children[0], depth + 1))
    return _read_comparison(node)


def _read_comparison(node: Any) -> Comparison:
    token = node.children[0]
    key = _key(token)
    if node.data == "flag":
        if key.kind is not ValueKind.FLAG:
            raise _at(token.end_pos, f"{key.name} needs an operator and a value: one of {_allowed(key)}")
        return Comparison(key, "=", (True,))
    operator = _operator(node, key)
    values = [child.children[0] for child in node.children if hasattr(child, "data")]
    read = [_value(key, value) for value in values]
    if None in read and operator in ("in", "not in"):
        raise _at(values[read.index(None)].start_pos, f"a list cannot contain none; use {key.name}=none or …")
    if operator in ("~", "!~") and len(str(read[0])) > MAX_GLOB:
        raise _at(values[0].start_pos, f"a glob may have at most {MAX_GLOB} characters")
    return Comparison(key, operator, tuple(read))


def _key(token: Any) -> Key:
    name, dot, part = str(token).partition(".")
    name = snake_case(name)
    if name in ("label", "labels") and dot:
        return Key("label", ValueKind.TEXT, _unquoted(part))
    if name == "needs" and dot:
        return Key("needs", ValueKind.NUMBER, _unquoted(part))
    if dot or name not in KINDS:
        known = (*KINDS, "label.NAME", "needs.NAME")
        message = unknown("key in the filter:", str(token), known).message
        hint = "" if "did you mean" in message else f"; expected one of {', '.join(known)}"
        raise _at(token.start_pos, message + hint)
    return Key(name, KINDS[name])


def _operator(node: Any, key: Key) -> Operator:
    token, *others = node.children
    written, at = {"within": "in", "without": "not in"}.get(node.data), token.end_pos
    if written is None:
        written, at = str(others[0]), others[0].start_pos
    operator: Any = "=" if written == "==" else written
    none = node.data == "compare" and _is_none(others[1].children[0])
    if none and operator not in ("=", "!="):
        raise _at(at, f"none has no order; expected {key.name}=none or {key.name}!=none")
    if operator not in OPERATORS[key.kind] and not none:
        raise _at(at, f"{key.name} cannot be compared with {operator}; expected one of {_allowed(key)}")
    return operator  # type: ignore[no-any-return]


def _allowed(key: Key) -> str:
    return ", ".join(OPERATORS[key.kind])


def _is_none(token: Any) -> bool:
    return token.type == "WORD" and str(token).lower() in ("none", "null")


def _value(key: Key, token: Any) -> Value:
    if _is_none(token):
        return None
    given = _unquoted(str(token))
    name = key.name if key.part is None else f"{key.name}.{key.part}"
    try:
        return _READERS["needs" if key.name == "needs" else key.kind](name, given)
    except BadParams as error:
        raise _at(token.start_pos, error.message) from None


def _unquoted(written: str) -> str:
    if written[:1] in ("'", '"'):
        return re.sub(r"\\(.)", r"\1", written[1:-1], flags=re.S)
    return written


def conjuncts(asked: Filter) -> Sequence[Filter]:
    """Return the operands of a conjunction, or the filter itself."""
    return asked.parts if isinstance(asked, All) else (asked,)


_READERS: Final[dict[str, Check[Value]]] = {
    ValueKind.TEXT: lambda _key, given: given,
    ValueKind.NUMBER: filtervalues.number,
    ValueKind.DURATION: filtervalues.duration,
    ValueKind.TIME: filtervalues.time,
    ValueKind.STATE: filtervalues.state,
    ValueKind.SIGNAL: filtervalues.signal,
    ValueKind.REASON: filtervalues.reason,
    ValueKind.WORKER: filtervalues.worker,
    ValueKind.FLAG: filtervalues.flag,
    "needs": filtervalues.amount,
}
