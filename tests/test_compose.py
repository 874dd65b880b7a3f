"""docker-compose.yml says what the program understands: its commands, its settings, and versions that are tried here."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli import main
from ledger.settings import Settings
from tests.broker import KAFKA

ROOT = Path(__file__).parent.parent
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "points-ledger"}


def test_there_is_one_of_each_station_with_its_servers() -> None:
    assert OURS.keys() == {"topics", "ingest", "relay", "project", "expire", "points"}
    assert SERVICES["kafka"]["image"].endswith(f":{KAFKA}")


@pytest.mark.parametrize("name", OURS)
def test_commands_and_settings_are_those_of_the_program(name: str) -> None:
    service = OURS[name]
    context = main.make_context("points", [*service["command"], "--help"], resilient_parsing=True)
    command = main.commands[service["command"][0]]
    command.make_context(service["command"][0], list(service["command"][1:]), parent=context)
    known = {f"POINTS_LEDGER_{field.upper()}" for field in Settings.model_fields}
    assert {each for each in service["environment"] if each.startswith("POINTS_LEDGER_")} <= known


@pytest.mark.parametrize("name", SERVICES)
def test_who_runs_on_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert "test" in service["healthcheck"] or service["restart"] == "no"
