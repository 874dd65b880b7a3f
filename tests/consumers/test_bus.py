"""The in-process bus: the contract of buses, and that all its messages are in one order."""

from __future__ import annotations

from pathlib import Path

from consumers.bus import Bus, InProcessBus
from tests.conformance.bus_contract import BusContract, content, said


class TestInProcessBus(BusContract):
    def open_bus(self, where: Path) -> Bus:
        return InProcessBus()

    def test_all_keys_are_in_one_order(self, bus: Bus) -> None:
        published = [said(f"partner/P-{n * 7 % 5}", n) for n in range(40)]
        bus.publish(published[:13])
        bus.publish(published[13:])
        found = self.take(bus, 40, limit=9)
        assert list(map(content, found)) == list(map(content, published))
        assert [each.offset for each in found] == list(range(40))
