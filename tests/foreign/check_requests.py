"""Holds request bodies against the types of Anthropic's own package.

Reads one JSON body a line from standard input. Prints `ok <count>` and exits 0, or prints the
first mismatch as `line <n>: <place>: <problem>` and exits 1. Unknown members are mismatches,
except inside JSON Schemas and tool inputs, where the types allow anything.

Not a test of behaviour: it knows what a request may look like, not what the provider accepts.
"""

import json
import sys
import types
import typing

from anthropic.types import message_create_params
from typing_extensions import Literal, NotRequired, Required, is_typeddict


class Mismatch(Exception):
    """A place in a body, and what is wrong there."""


def check(value, expected, place):
    """Raises Mismatch unless `value` has the type `expected`."""
    origin = typing.get_origin(expected)
    args = typing.get_args(expected)
    if origin in (Required, NotRequired, typing.Annotated):
        return check(value, args[0], place)
    if expected in (object, typing.Any):
        return None
    if is_typeddict(expected):
        return check_members(value, expected, place)
    if origin in (typing.Union, types.UnionType):
        return check_union(value, args, place)
    if origin is Literal:
        return require(value in args and type(value) in map(type, args), place, f"is not one of {args}")
    if origin is dict:
        require(isinstance(value, dict), place, "is not an object")
        for name, member in value.items():
            check(member, args[1], f"{place}.{name}")
        return None
    # Lists are stated as list, Iterable or the package's own sequence type.
    if origin is not None and len(args) == 1:
        require(isinstance(value, list), place, "is not a list")
        for index, item in enumerate(value):
            check(item, args[0], f"{place}.{index}")
        return None
    if expected is float:
        return require(type(value) in (int, float), place, "is not a number")
    if isinstance(expected, type):
        wanted = expected.__name__
        fits = isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
        return require(fits, place, f"is not of type {wanted}")
    raise Mismatch(f"{place}: the checker does not understand the type {expected!r}")


def check_members(value, expected, place):
    require(isinstance(value, dict), place, "is not an object")
    members = typing.get_type_hints(expected, include_extras=True)
    config = getattr(expected, "__pydantic_config__", {})
    for name, member in members.items():
        # The package's annotations are texts, so `__required_keys__` alone misses `Required`.
        origin = typing.get_origin(member)
        needed = origin is Required or (origin is not NotRequired and name in expected.__required_keys__)
        require(name in value or not needed, place, f"lacks `{name}`")
    for name, member in value.items():
        if name in members:
            check(member, members[name], f"{place}.{name}")
        else:
            require(config.get("extra") == "allow", place, f"has the unknown member `{name}`")


def check_union(value, options, place):
    """If no option fits, the answer is about the one that the value names as its own, or else about
    the one that fits furthest."""
    problems = []
    for option in options:
        try:
            return check(value, option, place)
        except Mismatch as problem:
            problems.append((names_itself(value, option), problem))
    raise max(problems, key=lambda found: (found[0], str(found[1]).split(":")[0].count(".")))[1]


def names_itself(value, option):
    if not (is_typeddict(option) and isinstance(value, dict)):
        return False
    members = typing.get_type_hints(option)
    for tag in ("type", "role"):
        if value.get(tag) in typing.get_args(members.get(tag)):
            return True
    return False


def require(holds, place, problem):
    if not holds:
        raise Mismatch(f"{place}: {problem}")


def main():
    count = 0
    for number, line in enumerate(sys.stdin, start=1):
        try:
            check(json.loads(line), message_create_params.MessageCreateParamsStreaming, "body")
        except (Mismatch, ValueError) as problem:
            print(f"line {number}: {problem}")
            return 1
        count += 1
    print(f"ok {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
