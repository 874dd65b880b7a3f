"""The official JSON Schema of AsyncAPI 3.0: its npm package, pinned, fetched once into the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "@asyncapi/specs@6.11.1"
_FILE = "package/schemas/3.0.0.json"


class NoSchema(Exception):
    """Why the schema is not here, in plain words."""


@cache
def official() -> dict[str, Any]:
    """The schema. Raises NoSchema."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "points-ledger" / "asyncapi-specs-6.11.1" / "3.0.0.json"
    if not kept.exists():
        _fetch(kept)
    schema: dict[str, Any] = json.loads(kept.read_bytes())
    return schema


def _fetch(kept: Path) -> None:
    if shutil.which("npm") is None:
        raise NoSchema("npm is not on the path")
    work = kept.parent / f"fetch-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=work, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise NoSchema(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-300:]}")
        (packed,) = work.glob("*.tgz")
        with tarfile.open(packed) as archive:
            found = archive.extractfile(_FILE)
            assert found is not None, _FILE
            (work / "schema").write_bytes(found.read())
        (work / "schema").replace(kept)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSchema(f"{PACKAGE} could not be fetched: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
