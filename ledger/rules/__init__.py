"""Rulebooks, the sweep and the walk: facts and a rulebook in, standings and reasons out. No I/O, no clock."""
