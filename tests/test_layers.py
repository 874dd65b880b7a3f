"""Imports point inward, and each third-party package has one home."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("ledger/**/*.py"), *ROOT.glob("consumers/*.py"), ROOT / "cli.py"])


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def of(prefix: str) -> list[Path]:
    return [file for file in FILES if str(file.relative_to(ROOT)).startswith(prefix)]


FORBIDDEN = [
    ("ledger/errors.py", ["ledger."]),
    ("ledger/exporting.py", ["ledger.projections", "ledger.log", "ledger.intake", "ledger.terminal", "consumers", "cli", "click", "sqlalchemy"]),
    ("ledger/instants.py", ["ledger."]),
    ("ledger/events/", ["ledger.rules", "ledger.log", "ledger.intake", "ledger.projections", "consumers", "cli", "click", "sqlalchemy"]),
    ("ledger/rules/", ["ledger.log", "ledger.intake", "ledger.projections", "consumers", "cli", "time", "sqlite3", "sqlalchemy", "click"]),
    ("ledger/log", ["ledger.projections", "ledger.rules", "consumers", "cli"]),
    ("ledger/intake.py", ["ledger.projections", "ledger.rules", "consumers", "cli"]),
    ("ledger/guards.py", ["ledger.projections", "ledger.rules", "ledger.log", "consumers", "cli"]),
    ("ledger/projections/", ["ledger.log", "ledger.intake", "ledger.guards", "consumers", "cli", "click"]),
    ("consumers/", ["cli", "click"]),
]


@pytest.mark.parametrize(("prefix", "forbidden"), FORBIDDEN)
def test_imports_point_inward(prefix: str, forbidden: list[str]) -> None:
    files = of(prefix)
    assert files, prefix
    for file in files:
        for name in imports(file):
            for bad in forbidden:
                assert not (name == bad.rstrip(".") or name.startswith(bad.rstrip(".") + ".")), f"{file.relative_to(ROOT)} imports {name}"


def test_the_publisher_alone_leads_out_of_the_ledger() -> None:
    """It is an edge, as `cli.py` is: what a team that publishes imports. Nothing in the ledger imports it, or the stations."""
    outward = {str(file.relative_to(ROOT)) for file in of("ledger/") for name in imports(file) if name.split(".")[0] == "consumers"}
    assert outward == {"ledger/publisher.py"}
    assert not [file for file in FILES if any(name.startswith("ledger.publisher") for name in imports(file))]


HOMES = {
    "eventsourcing": ["ledger/log_sqlite.py", "ledger/log_postgres.py"],
    "sqlalchemy": ["ledger/projections/", "ledger/directory.py", "ledger/engines.py", "ledger/migrations/"],
    "alembic": ["ledger/migrations/"],
    "psycopg": ["ledger/log_postgres.py"],
    "kafka": ["consumers/kafka_bus.py"],
    "click": ["cli.py"],
    "pyarrow": ["ledger/exporting.py"],
    "rich": ["ledger/terminal.py"],
    "msgspec": ["ledger/events/", "ledger/projections/endangered.py", "consumers/"],
    "pydantic": ["ledger/events/", "ledger/settings.py"],
    "pydantic_settings": ["ledger/settings.py"],
    "yaml": ["ledger/rules/yaml_nodes.py"],
}


@pytest.mark.parametrize("package", HOMES)
def test_each_third_party_package_has_one_home(package: str) -> None:
    users = [str(file.relative_to(ROOT)) for file in FILES if any(n == package or n.startswith(package + ".") for n in imports(file))]
    assert users
    assert all(any(user.startswith(home) for home in HOMES[package]) for user in users), users


def test_the_environment_is_read_in_one_place() -> None:
    assert [file.name for file in FILES if "os.environ" in file.read_text() or "getenv" in file.read_text()] == []


def test_no_float_in_points_or_money() -> None:
    for file in [*of("ledger/rules/"), *of("ledger/projections/"), *of("ledger/events/")]:
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"{file}: {node.value}"
            assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"), file
