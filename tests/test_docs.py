"""The guides in docs/ are true: their files are written, their commands run, their codes are the ones the linter knows."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from ledger.rules.lint import lint

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "rulebooks.md").read_text()
FILES = dict(re.findall(r"```yaml file=(\S+)\n(.*?)```", GUIDE, re.DOTALL))


def run(line: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, shlex.split(line)[1:], catch_exceptions=False)
    return result.exit_code, result.output


def write_files() -> None:
    for name, text in FILES.items():
        Path(name).write_text(text)


def test_the_guide_to_rulebooks_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()
    Path("first.jsonl").write_text(
        '{"specversion":"1.0","id":"1","source":"x","type":"partner.enrolled.v1","subject":"P-1","time":"2026-01-01T00:00:00Z",'
        '"data":{"programme":"acme"}}\n'
    )
    assert run("points record first.jsonl")[0] == 0
    (commands,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    outputs = {line: run(line) for line in commands.splitlines()}
    assert len(outputs) == 4
    assert all(code == 0 for code, _ in outputs.values()), outputs
    assert any("2 cases, 10 expectations: 0 not met" in output for _, output in outputs.values()), outputs
    assert FILES["acme.yaml"] in outputs["points rules show acme/points-2026"][1]


def test_a_case_that_fails_says_where_and_stops_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()
    cases = Path("cases.yaml")
    cases.write_text(cases.read_text().replace("sold: 12,", "sold: 13,"))
    code, output = run("points rules test cases.yaml --book acme.yaml")
    assert code == 1 and "13" in output and "12" in output and "cases.yaml" in output
    assert run("points rules publish acme.yaml --golden cases.yaml --author office")[0] == 1


def test_every_code_of_the_linter_is_documented() -> None:
    source = "".join((ROOT / "ledger" / "rules" / name).read_text() for name in ("book.py", "lint.py", "yaml_nodes.py"))
    codes = set(re.findall(r'(?:problem\(|_error\([\w.]+, |Problem\([\w.]+, )"([a-z_]+)"', source))
    assert len(codes) > 30
    assert codes - set(re.findall(r"`([a-z_]+)`", GUIDE)) == set()


def test_the_rulebook_of_the_guide_has_no_problem() -> None:
    assert lint(FILES["acme.yaml"], "acme.yaml") == []
