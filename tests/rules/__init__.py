"""Tests of the rulebook language: each primitive, each policy, each complaint of the linter."""
