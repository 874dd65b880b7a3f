"""YAML with line numbers, every scalar as text. It knows nothing of rulebooks; mistakes are collected, not raised one by one.

Only plain maps, lists and texts are read: an alias can make a small file endless, so there are none, and nesting has an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import yaml
from yaml.composer import ComposerError

from ledger.errors import RulebookError

ERROR, WARNING = "error", "warning"
DEPTH = 40
"""How deep values may lie in each other; the deepest rulebook that ships has 9."""

_EXACT = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:/[0-9]{1,30})?")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "seq", "map")}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake or oddity of a rulebook, with its line (from 1)."""

    line: int
    code: str
    message: str
    severity: str = ERROR
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"line {self.line}: {self.severity}: {self.message} [{self.code}]{hint}"


class RulebookProblems(RulebookError):
    """A rulebook that cannot be right; carries every problem."""

    code = "rulebook_problems"

    def __init__(self, name: str, problems: list[Problem]) -> None:
        super().__init__(f"{name} has {len(problems)} error{'s' * (len(problems) != 1)}", hint="\n  ".join(map(str, problems)))
        self.problems = problems


class Problems:
    """Collects; raises all at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[Problem] = []

    def raise_if_any(self) -> None:
        if self.errors:
            raise RulebookProblems(self.name, sorted(dict.fromkeys(self.errors), key=lambda problem: problem.line))


def exact(written: str) -> Fraction | None:
    """A number as people write it (3, -1.5, 20/3), exactly; None for anything else."""
    if _EXACT.fullmatch(written) is None or re.search(r"/0+$", written):
        return None
    over, _, under = written.partition("/")
    return Fraction(over) / Fraction(under or 1)


class Node:
    """One value of the file, with its line and whether it is marked `!assumed` (or lies inside what is)."""

    __slots__ = ("_children", "_node", "_problems", "assumed", "line")

    def __init__(self, node: yaml.Node, problems: Problems, *, assumed: bool = False) -> None:
        self._node = node
        self._problems = problems
        self.line: int = node.start_mark.line + 1 if node.start_mark else 0
        self.assumed = assumed or node.tag == "!assumed"
        if node.tag not in ("!assumed", "!") and node.tag not in _PLAIN_TAGS:
            self.problem("unknown_tag", f"{node.tag} is not known", hint="the one tag is !assumed")
        self._children = self._read_children()

    def _read_children(self) -> dict[str, Node]:
        children: dict[str, Node] = {}
        if isinstance(self._node, yaml.MappingNode):
            for key, value in self._node.value:
                child = Node(value, self._problems, assumed=self.assumed)
                if not isinstance(key, yaml.ScalarNode) or not key.value or key.tag == "!assumed":
                    child.problem("bad_key", "a key is a plain text", hint="!assumed stands before the value, after the colon")
                    continue
                child.line = key.start_mark.line + 1
                name = key.value
                if name in children:
                    child.problem("key_twice", f"{name!r} is written twice")
                children[name] = child
        return children

    @property
    def is_map(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def problem(self, code: str, message: str, *, hint: str = "") -> None:
        self._problems.errors.append(Problem(self.line, code, message, hint=hint))

    def allow(self, *names: str) -> None:
        if not self.is_map:
            self.problem("not_a_map", "a map of keys and values is expected here")
        for name, child in self._children.items():
            if name not in names:
                child.problem("unknown_key", f"{name!r} is not known here", hint=f"known: {', '.join(names)}")

    def get(self, name: str) -> Node | None:
        return self._children.get(name)

    def entries(self) -> Iterator[tuple[str, Node]]:
        if not self.is_map:
            self.problem("not_a_map", "a map of keys and values is expected here")
        yield from self._children.items()

    def items(self, name: str) -> Iterator[tuple[str, Node]]:
        child = self._children.get(name)
        if child is not None:
            yield from child.entries()

    def parts(self) -> list[Node]:
        if not isinstance(self._node, yaml.SequenceNode):
            self.problem("not_a_list", "a list is expected here")
            return []
        return [Node(part, self._problems, assumed=self.assumed) for part in self._node.value]

    def list(self, name: str) -> list[Node]:
        child = self._children.get(name)
        return child.parts() if child is not None else []

    def scalar(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode):
            self.problem("not_a_value", "a single value is expected here")
            return ""
        return str(self._node.value)

    def text(self, name: str) -> str:
        child = self._children.get(name)
        return child.scalar() if child is not None else ""

    def plain(self) -> object:
        """The whole value as dicts, lists and texts."""
        if self.is_map:
            return {name: child.plain() for name, child in self._children.items()}
        return [part.plain() for part in self.parts()] if self.is_list else self.scalar()


class _Loader(yaml.SafeLoader):
    """Refuses aliases, and nesting without end, before they cost anything."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        here: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = here.start_mark
        if isinstance(here, yaml.AliasEvent):
            raise ComposerError(None, None, "an alias (*name) is not read here; write the value again", mark)
        self.depth += 1
        if self.depth > DEPTH:
            raise ComposerError(None, None, f"values lie more than {DEPTH} deep in each other", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _decoded(source: str | bytes, problems: Problems) -> str | None:
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        problems.errors.append(Problem(line, "not_utf8", f"byte {error.start + 1} of the file is not UTF-8"))
        return None


def compose(source: str | bytes, problems: Problems) -> Node | None:
    """The root node, or None with the mistake collected."""
    text = _decoded(source, problems)
    if text is None:
        return None
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problems.errors.append(Problem(_line_of(error, text), "not_yaml", f"not YAML: {_what(error)}"))
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.errors.append(Problem(1, "not_a_map", "a map of keys and values is expected"))
        return None
    return Node(root, problems)


def _line_of(error: Exception, text: str) -> int:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    place = getattr(error, "position", None)  # of a character that YAML does not take
    return text.count("\n", 0, place) + 1 if isinstance(place, int) else 1


def _what(error: Exception) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character U+{error.character:04X} is not allowed"
    return getattr(error, "problem", None) or str(error)
