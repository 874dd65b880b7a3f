"""The directory: who an opaque id is, outside the log, erasable without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.directory import Directory, Entry


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path / "ledger.directory.db")
    yield directory
    directory.close()


def test_what_is_put_can_be_read(directory: Directory) -> None:
    entry = Entry("partner", "P-1", "Partner One", "one@partner.example", "https://crm.example/1", "https://account.example/1")
    directory.put(entry)
    assert directory.get("partner", "P-1") == entry


def test_who_is_unknown_is_the_id_alone(directory: Directory) -> None:
    assert directory.get("person", "X") == Entry("person", "X")


def test_what_is_stated_replaces_what_was_stated(directory: Directory) -> None:
    directory.put(Entry("person", "X", "First", "first@person.example"))
    directory.put(Entry("person", "X", "Second"))
    assert directory.get("person", "X") == Entry("person", "X", "Second")


def test_the_same_id_of_two_kinds_is_two(directory: Directory) -> None:
    directory.put(Entry("person", "7", "A person"), Entry("client", "7", "A client"))
    assert [entry.name for entry in directory.all("person")] == ["A person"]
    assert directory.get("client", "7").name == "A client"


def test_all_are_in_order(directory: Directory) -> None:
    directory.put(*[Entry("contact", id) for id in ("c", "a", "b")])
    assert [entry.id for entry in directory.all("contact")] == ["a", "b", "c"]


def test_another_kind_is_refused_and_nothing_is_put(directory: Directory) -> None:
    with pytest.raises(ValueError, match="robot"):
        directory.put(Entry("person", "X"), Entry("robot", "R"))
    assert directory.all("person") == []


def test_it_is_kept_in_its_file(directory: Directory, tmp_path: Path) -> None:
    directory.put(Entry("client", "C", "A client"))
    again = Directory(tmp_path / "ledger.directory.db")
    assert again.get("client", "C").name == "A client"
    again.close()


def test_what_is_erased_leaves_no_trace_in_any_file(directory: Directory, tmp_path: Path) -> None:
    directory.put(Entry("person", "X", "Unmistakable Name", "unmistakable@person.example"), Entry("person", "Y", "Another"))
    assert directory.erase("person", "X")
    assert not directory.erase("person", "X")
    assert directory.get("person", "X") == Entry("person", "X")
    assert directory.get("person", "Y").name == "Another"
    directory.close()
    for file in tmp_path.iterdir():
        assert b"nmistakable" not in file.read_bytes()
