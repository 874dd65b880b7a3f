"""The linter: each mistake is told with its line, every code is provoked, and garbage never crashes it."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from ledger import rules
from ledger.rules.book import load
from ledger.rules.library import shipped
from ledger.rules.lint import lint
from ledger.rules.yaml_nodes import RulebookProblems
from tests.laws.histories import examples

BOOK = """book: x/y
programme: x
effective: 2024-01-01
language: 1
tables:
  rate: {rows: {2024-01-01: {a: 1}, 2025-01-01: {a: 2}}}
measures:
  sold: {sum: amount, of: sold, for: 12 months, times: "rate[deal_type]", unit: points}
  people: {distinct: person, of: certificate, unit: people}
numbers:
  total: sold + 1
tiers:
  Low: [total >= 10, people >= 1]
  High: [total >= 20, people >= 2]
status: {continuous: {}}
"""

MISTAKES = [
    ("rate[deal_type]", "rates[deal_type]", 8, "unknown_table"),
    ("rate[deal_type]", "rate[deal_type, line]", 8, "wrong_keys"),
    ("rate[deal_type]", "rate[colour]", 8, "unknown_name"),
    ("sum: amount", "sum: amounts", 8, "unknown_name"),
    ("of: sold", "of: bought", 8, "unknown_fact"),
    ("2025-01-01: {a: 2}", "2023-01-01: {a: 2}", 6, "rows_overlap"),
    ("12 months", "12 moons", 8, "bad_span"),
    ("total: sold + 1", "total: sold + people", 11, "units_differ"),
    ("total: sold + 1", "total: total + sold", 11, "cycle"),
    ("total >= 10", "sum >= 10", 13, "unknown_name"),
    ("people >= 2", "people >= 0", 14, "falling_threshold"),
    ("people >= 1]", "people >= sold]", 13, "units_differ"),
    (", people >= 1]", "]", 14, None),
    ("language: 1", "language: 9", 4, "language_too_new"),
    ("effective: 2024-01-01", "effective: soon", 3, "bad_date"),
    ("total: sold + 1", "total: __import__('os')", 11, "bad_expression"),
    ("total: sold + 1", "total: sold\n  spare: sold", 12, "unused_number"),
    ("  people: {", "  extra: {count: all, of: sold}\n  people: {", 9, "unused_measure"),
    ("{continuous: {}}", "{monthly: {}}", 15, "unknown_key"),
    ("unit: people}", "unit: people, colour: red}", 9, "unknown_key"),
    ("  Low:", "  Low: [total >= 1]\n  Low:", 14, "key_twice"),
]


@pytest.mark.parametrize(("old", "new", "line", "code"), MISTAKES)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, code: str | None) -> None:
    assert lint(BOOK) == []
    assert old in BOOK
    found = [(problem.line, problem.code) for problem in lint(BOOK.replace(old, new))]
    assert (line, code) in found if code else found == []


def test_as_printed_silences_falling_thresholds() -> None:
    falling = BOOK.replace("High: [total >= 20, people >= 2]", "High: {needs: [total >= 20, people >= 0], as_printed: true}")
    assert lint(falling) == []


RICH = """book: x/y
programme: x
effective: 2024-01-01
language: 1
zone: UTC
sources: {page: the page}
lists: {focus: [F1, F2]}
tables:
  rate: {on: origin, rows: {2024-01-01: {a: 1}, 2025-01-01: {a: 2}}, source: page}
  bar: {values: {default: 1, small: 1/2}}
derive:
  origin: {first: at, of: sold, by: [client, line]}
  market: {value: country, of: client, by: client}
measures:
  sold: {sum: amount, of: sold, for: 12 months, times: "rate[deal_type]", unit: points, while: {of: worked, by: client}}
  taken: {count: all, of: sold, until: origin}
  people: {each: person, of: certificate, is: {lead: "any(focus)", dev: "n('D1') >= 1"}}
numbers:
  share: "100 * sold / taken if taken > 0 else 0"
  total: sold * bar['small']
show: [share]
levels: [Low, High]
awards:
  A: {tiers: {Low: [total >= 10], High: [total >= 20]}}
  B: {options: {one: {Low: ["team(people, 1, lead, 1, dev)"]}, two: {Low: [total >= 30]}}, group: g}
status: {membership: {renewal: 30 days, remind: [-15 days, 23 days], next: {2024-01-01: renewal + 365 days, 2025-01-01: anniversary + 365 days}}}
overrides: {tier: performance}
"""

REVIEW = BOOK.replace(
    "{continuous: {}}",
    "{review: {checkpoints: day 15, reviews: [01-15], window: 6 checkpoints, hold: 6 months, required: total, carry: {Old: Low}}}",
)

CODES: dict[str, tuple[str, str, str, int]] = {
    "bad_aggregate": (RICH, "count: all", "count: some", 16),
    "bad_award": (RICH, "group: g", "tiers: {}", 25),
    "bad_checkpoints": (REVIEW, "day 15", "day 29", 15),
    "bad_clock": (RICH, "{count: all, of: sold,", "{count: all, of: sold, on: later,", 16),
    "bad_date": (RICH, "effective: 2024-01-01", "effective: 2024-02-30", 3),
    "bad_derive": (RICH, "{first: at,", "{first: at, last: at,", 12),
    "bad_expression": (RICH, "total: sold *", "total: sold ** 2 *", 20),
    "bad_flag": (RICH, "until: origin", "until: origin, hold: yes", 16),
    "bad_key": (RICH, "sources: {page: the page}", "sources: {[page]: the page}", 6),
    "bad_name": (RICH, "total: sold", "the total: sold", 20),
    "bad_next": (RICH, "renewal + 365 days", "purchase + 365 days", 26),
    "bad_number": (REVIEW, "6 checkpoints", "six checkpoints", 15),
    "bad_override": (RICH, "tier: performance", "tier: everything", 27),
    "bad_predicate": (RICH, ">= 1", ">= 0", 17),
    "bad_reminders": (RICH, "[-15 days, 23 days]", "[15 days, 23 days]", 26),
    "bad_span": (RICH, "12 months", "12 moons", 15),
    "bad_status": (RICH, "status: {", "status: {continuous: {}, ", 26),
    "bad_tier": (BOOK, "Low:", "none:", 13),
    "bad_until": (RICH, "until: origin", "until: market", 16),
    "cycle": (RICH, "total: sold", "total: total", 20),
    "division_by_zero": (RICH, "sold / taken", "sold / 0", 19),
    "empty_any": (RICH, "while: {of: worked, by: client}", "while: {any: []}", 15),
    "empty_table": (RICH, "bar: {values: {default: 1, small: 1/2}}", "bar: {}", 10),
    "falling_threshold": (RICH, "total >= 20", "total >= 5", 24),
    "key_twice": (RICH, "programme: x", "programme: x\nprogramme: x", 3),
    "language_too_new": (RICH, "language: 1", "language: 2", 4),
    "missing_key": (RICH, "effective: 2024-01-01\n", "", 1),
    "name_twice": (RICH, "total: sold", "taken: sold", 16),
    "no_fact": (RICH, "bar['small']", "rate['a']", 20),
    "no_reviews": (REVIEW, "reviews: [01-15]", "reviews: []", 15),
    "no_row": (RICH, "{default: 1, small: 1/2}", "{large: 1}", 20),
    "not_a_condition": (RICH, "[total >= 10]", "[total]", 24),
    "not_a_list": (RICH, "levels: [Low, High]", "levels: Low", 22),
    "not_a_map": (RICH, "sources: {page: the page}", "sources: page", 6),
    "not_a_number": (RICH, "sum: amount", "sum: currency", 15),
    "not_a_value": (RICH, "programme: x", "programme: [x]", 2),
    "not_utf8": (RICH, "the page", "the \udcff page", 6),
    "not_yaml": (RICH, "sources: {page", "sources: page}", 6),
    "requirement_twice": (RICH, "[total >= 10]", "[total >= 10, total >= 11]", 24),
    "review_off_checkpoint": (REVIEW, "[01-15]", "[01-16]", 15),
    "rows_overlap": (RICH, "2025-01-01: {a: 2}", "2023-01-01: {a: 2}", 9),
    "text_and_number": (RICH, "sold * bar", "sold + 'points' * bar", 20),
    "too_large": (
        RICH,
        "total: sold",
        "".join(f"n{i}: {' + '.join([f'n{i + 1}'] * 9)}\n  " for i in range(9)) + "n9: sold\n  total: n0 * sold",
        25,
    ),
    "units_differ": (BOOK, "sold + 1", "sold + people", 11),
    "unguarded_division": (RICH, " if taken > 0 else 0", "", 19),
    "unknown_fact": (RICH, "of: worked", "of: laboured", 15),
    "unknown_key": (RICH, "group: g", "colour: g", 25),
    "unknown_name": (RICH, "by: client}\nmeasures", "by: colour}\nmeasures", 13),
    "unknown_requirement": (REVIEW, "required: total", "required: sold", 13),
    "unknown_source": (RICH, "source: page", "source: letter", 9),
    "unknown_table": (RICH, "bar['small']", "bars['small']", 20),
    "unknown_tag": (RICH, "programme: x", "programme: !published x", 2),
    "unknown_tier": (RICH, "{tiers: {Low:", "{tiers: {Middle:", 24),
    "unknown_zone": (RICH, "zone: UTC", "zone: Mars/Olympus", 5),
    "unused_measure": (RICH, "numbers:", "  spare: {count: all, of: sold}\nnumbers:", 18),
    "unused_number": (RICH, "show:", "  spare: sold\nshow:", 21),
    "values_and_rows": (RICH, "bar: {values", "bar: {rows: {2024-01-01: {default: 1}}, values", 10),
    "wrong_keys": (RICH, "rate[deal_type]", "rate[deal_type, line]", 15),
}


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_provoked_with_its_line(code: str) -> None:
    base, old, new, line = CODES[code]
    assert lint(base) == []
    assert old in base
    broken = base.replace(old, new, 1).encode(errors="surrogateescape")
    assert (line, code) in [(problem.line, problem.code) for problem in lint(broken)]


def test_a_table_that_has_a_nought_is_no_divisor() -> None:
    divided = RICH.replace("sold * bar['small']", "sold / bar['small']")
    assert lint(divided) == []
    assert [(problem.line, problem.code) for problem in lint(divided.replace("1/2", "0"))] == [(20, "division_by_zero")]
    rated = RICH.replace('"rate[deal_type]"', '"1 / rate[deal_type]"')
    assert lint(rated) == []
    assert [(problem.line, problem.code) for problem in lint(rated.replace("{a: 2}", "{a: 0}"))] == [(15, "division_by_zero")]


CALLS = {"problem": 0, "_error": 1, "Problem": 1}
"""Where the code stands among the arguments of what makes a problem."""


def codes_of(source: str) -> Iterator[str]:
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            place = CALLS.get(name)
            if place is not None and len(call.args) > place and isinstance(call.args[place], ast.Constant):
                yield call.args[place].value


def test_the_codes_that_are_provoked_are_the_codes_there_are() -> None:
    sources = [file.read_text() for file in Path(rules.__file__).parent.glob("*.py")]
    assert {code for source in sources for code in codes_of(source)} | {"bad_expression"} == CODES.keys()


def test_the_docs_name_every_code() -> None:
    table = (Path(rules.__file__).parents[2] / "docs" / "rulebooks.md").read_text().partition("## What the linter says")[2]
    assert [code for code in CODES if f"`{code}`" not in table] == []


# -- garbage -----------------------------------------------------------------------------------------------------------


def deep(n: int, opening: str = "[", closing: str = "]") -> str:
    return BOOK.replace("total: sold + 1", f"total: {opening * n}{closing * n}")


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))

GARBAGE: dict[str, str | bytes] = {
    "nothing": "",
    "a blank": " \n",
    "a text": "rulebook",
    "a list": "- book: x",
    "a number": "1",
    "two documents": BOOK + "---\n" + BOOK,
    "a comment alone": "# nothing",
    "a directive": "%YAML 1.9\n---\n" + BOOK,
    "tabs": BOOK.replace("  sold:", "\tsold:"),
    "a tab in a value": BOOK.replace("sold + 1", "sold +\t1\t"),
    "a byte order mark": "\ufeff" + BOOK,
    "carriage returns": BOOK.replace("\n", "\r\n"),
    "a nul": BOOK.replace("sold + 1", "sold + \x00 1"),
    "bytes that are no text": b"book: \xff\xfe\n",
    "UTF-16": BOOK.encode("utf-16"),
    "duplicate keys": BOOK + BOOK,
    "deep lists": deep(10_000),
    "deep maps": deep(10_000, "{a: ", "}"),
    "deep blocks": "".join(" " * i + "a:\n" for i in range(500)),
    "deep brackets of an expression": BOOK.replace("sold + 1", "(" * 900 + "sold" + ")" * 900),
    "a long sum": BOOK.replace("sold + 1", " + ".join(["sold"] * 5_000)),
    "a deep sum": BOOK.replace("sold + 1", " + ".join(["sold"] * 250)),
    "many minus signs": BOOK.replace("sold + 1", "-" * 1_500 + "sold"),
    "an anchor and an alias": BOOK.replace("unit: points", "unit: &u points").replace("unit: people", "unit: *u"),
    "a billion laughs": LAUGHS + BOOK,
    "an endless alias": "a: &a {b: *a}\n" + BOOK,
    "a merge key": BOOK.replace("unit: people", "<<: {unit: people}"),
    "a huge whole number": BOOK.replace("sold + 1", "sold + " + "9" * 1_900),
    "a huge number in a table": BOOK.replace("{a: 1}", "{a: " + "9" * 100_000 + "}"),
    "a huge exponent": BOOK.replace("sold + 1", "sold + 1e999999999"),
    "a power": BOOK.replace("sold + 1", "9**9**9"),
    "a huge span": BOOK.replace("12 months", "9" * 5_000 + " months"),
    "a huge language": BOOK.replace("language: 1", "language: " + "9" * 5_000),
    "a huge year": BOOK.replace("effective: 2024-01-01", "effective: 99999-01-01"),
    "the year nought": BOOK.replace("effective: 2024-01-01", "effective: 0000-01-01"),
    "a huge count of checkpoints": REVIEW.replace("6 checkpoints", "9" * 5_000 + " checkpoints"),
    "a huge day of checkpoints": REVIEW.replace("day 15", "day " + "9" * 5_000),
    "digits of another script": REVIEW.replace("day 15", "day \u0661\u0665"),
    "a superscript": REVIEW.replace("day 15", "day \u00b2"),
    "a Python tag": BOOK.replace("sold + 1", "!!python/object/apply:os.system [true]"),
    "a binary tag": BOOK.replace("sold + 1", "!!binary aGVsbG8="),
    "a set": BOOK.replace("{continuous: {}}", "!!set {continuous}"),
    "a map as a key": BOOK.replace("total:", "{a: b}:"),
    "a null key": BOOK.replace("total:", "~:"),
    "an empty key": BOOK.replace("total:", '"":'),
    "a dunder": BOOK.replace("sold + 1", "sold.__class__.__mro__"),
    "an import": BOOK.replace("sold + 1", "__import__('os').system('true')"),
    "a walrus": BOOK.replace("sold + 1", "(x := sold)"),
    "a formatted text": BOOK.replace("sold + 1", "f'{sold}'"),
    "a long path as zone": BOOK.replace("language: 1", "language: 1\nzone: " + "a/" * 3_000),
    "a zone outside": BOOK.replace("language: 1", "language: 1\nzone: ../../etc/passwd"),
    "a zone that is a folder": BOOK.replace("language: 1", "language: 1\nzone: Europe"),
    "numbers that double": BOOK.replace("  total:", "".join(f"  n{i}: n{i + 1} + n{i + 1}\n" for i in range(60)) + "  n60: sold\n  total:"),
    "numbers in a ring": BOOK.replace("sold + 1", "ring\n  ring: total"),
    "a derived value of itself": BOOK.replace("tables:", "derive: {d: {first: at, of: sold, by: client, where: d == 'x'}}\ntables:"),
    "gates in gates": BOOK.replace("unit: points", "unit: points, while: " + "{of: link, while: " * 30 + "{of: link}" + "}" * 30),
    "keywords as names": BOOK.replace("total", "lambda"),
    "every part a text": "".join(f"{key}: x\n" for key in ["book", "programme", "effective", "language", "zone", "label", "sources", "derive", "tables", "lists", "measures", "numbers", "show", "tiers", "levels", "awards", "status", "overrides"]),
    "every part a list": "".join(f"{key}: [x]\n" for key in ["book", "programme", "effective", "language", "zone", "label", "sources", "derive", "tables", "lists", "measures", "numbers", "show", "tiers", "levels", "awards", "status", "overrides"]),
    "every part nothing": "".join(f"{key}:\n" for key in ["book", "programme", "effective", "language", "zone", "label", "sources", "derive", "tables", "lists", "measures", "numbers", "show", "tiers", "levels", "awards", "status", "overrides"]),
}  # fmt: skip


def told(source: str | bytes) -> int:
    """How many errors are told of a file; loading refuses it exactly if form is wrong, and never otherwise fails."""
    problems = lint(source)
    assert all(problem.line >= 1 and problem.code and problem.message for problem in problems), problems
    try:
        load(source)
    except RulebookProblems as refused:
        assert problems == refused.problems
    return sum(problem.severity == "error" for problem in problems)


def asked(tmp_path: Path, source: str | bytes) -> tuple[int, str]:
    """What the command line says of a file."""
    file = tmp_path / "book.yaml"
    file.write_bytes(source if isinstance(source, bytes) else source.encode(errors="surrogatepass"))
    result = CliRunner().invoke(main, ["--ledger", os.fspath(tmp_path / "none.db"), "rules", "lint", os.fspath(file)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


FINE = {"a byte order mark", "carriage returns", "a directive", "gates in gates"}
def named(*, of: type) -> list[object]:
    """The garbage that is a text, or that is bytes."""
    return [name for name, source in GARBAGE.items() if isinstance(source, of)]


@pytest.mark.parametrize("name", named(of=str))
def test_garbage_is_told_by_the_linter_and_on_the_command_line(name: str, tmp_path: Path) -> None:
    errors = told(GARBAGE[name])
    assert bool(errors) is (name not in FINE)
    code, words = asked(tmp_path, GARBAGE[name])
    assert code == (1 if errors else 0)
    assert f"{errors} error{'s' if errors != 1 else ''}, " in words


@pytest.mark.parametrize("name", named(of=bytes))
def test_bytes_that_are_no_text_are_told(name: str) -> None:
    assert [(problem.line, problem.code) for problem in lint(GARBAGE[name])] == [(1, "not_utf8")]


def test_bytes_that_are_no_text_are_told_on_the_command_line(tmp_path: Path) -> None:
    code, words = asked(tmp_path, b"book: \xff\xfe\n")
    assert code == 1 and "not UTF-8" in words


@pytest.mark.parametrize("part", [".", "no-such-file.yaml"])
def test_what_is_no_file_is_a_mistake_of_usage(part: str, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["rules", "lint", os.fspath(tmp_path / part)]).exit_code == 2


@examples(150)
@given(st.binary(max_size=60))
def test_random_bytes(noise: bytes) -> None:
    assert told(noise) > 0


@pytest.mark.parametrize("whole", [BOOK, RICH, REVIEW])
def test_a_book_that_breaks_off(whole: str) -> None:
    for end in range(0, len(whole), 11):
        told(whole[:end])


@examples(150)
@given(st.data())
def test_a_book_with_lines_that_moved(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from((BOOK, RICH, REVIEW))).splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        line = lines.pop(at) if data.draw(st.booleans()) else lines[at]
        lines.insert(data.draw(st.integers(0, len(lines))), " " * data.draw(st.integers(0, 3)) + line)
    told("\n".join(lines))


@examples(90)
@given(st.data())
def test_garbage_gives_problems_never_a_crash(data: st.DataObject) -> None:
    text = data.draw(st.one_of(st.just(BOOK), st.sampled_from([book.text for book in shipped()])))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 12)))
        text = text[:begin] + data.draw(st.text(max_size=8)) + text[end:]
    told(text)
