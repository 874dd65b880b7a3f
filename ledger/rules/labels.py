"""Labels: what the names of a programme's rulebooks are called in each language: tiers, awards, options, measures, numbers, units.

They lie beside the rulebooks in `labels.yaml`, are no part of them, and change no hash. A programme that was published by a user has
none: its names show as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from ledger.rules.yaml_nodes import Problems, compose

FILE = "labels.yaml"
_NAME = re.compile(r"[A-Za-z_][\w.]*")


@cache
def labels(programme: str) -> Mapping[str, Mapping[str, str]]:
    """By name and language."""
    for folder in (resources.files("ledger.rules") / "books").iterdir():
        if folder.name == programme and (file := folder / FILE).is_file():
            problems = Problems(f"{programme}/{FILE}")
            root = compose(file.read_text("utf-8"), problems)
            problems.raise_if_any()
            assert root is not None
            return {name: {language: each.scalar() for language, each in node.entries()} for name, node in root.entries()}
    return {}


def label(programme: str, name: str, language: str) -> str:
    return labels(programme).get(name, {}).get(language, name)


def requirement(programme: str, name: str, test: str, language: str) -> str:
    """A requirement in words: its names as labels; of one that is more than a comparison the name alone, where that has a label."""
    if name in labels(programme) and (" if " in test or "(" in test):
        return label(programme, name, language)
    return _NAME.sub(lambda found: label(programme, found[0], language), test)
