"""README and docs are true: their commands run, their files exist, the demo shows what the README says."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_demo_is_what_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.search(r"<!-- demo -->\n```text\n(.*?)```", README, re.DOTALL)
    assert shown, "the README shows the demo"
    printed = CliRunner().invoke(main, ["demo"]).stdout
    pattern = re.escape(shown[1]).replace(re.escape("...\n"), "(.*\n)*?")
    assert re.fullmatch(pattern, printed), "what is left out is marked by ..."


def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(main, ["demo"])
    commands = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    ours = [shlex.split(line)[1:] for line in commands if line.startswith("points ")]
    assert len(ours) >= 6
    for words in ours:
        if "import" in words:
            words += ["--refused", str(tmp_path / "refused.jsonl")]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == (1 if "import" in words else 0), (words, result.output)


def test_links_lead_somewhere() -> None:
    for file in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", file.read_text()):
            if "://" not in target:
                assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_every_command_is_documented() -> None:
    documented = README + "".join(file.read_text() for file in ROOT.glob("docs/*.md"))
    for name in main.commands:
        assert f"`{name}`" in documented or f"points {name}" in documented, name
