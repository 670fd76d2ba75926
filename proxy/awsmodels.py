"""
AWS's own service models, as botocore brings them (the optional extra ``aws``).

Only what finds a REST operation is read: the metadata of all services once, and the operations
of a service when it is first asked for.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from proxy.decode.aws_hosts import Endpoint
from proxy.decode.aws_routes import NO_SERVICES, Route, Service, Services, route

_GZIP: Final = 16 + zlib.MAX_WBITS
_METADATA: Final = 4_096
_MAX_MODEL: Final = 64 * 1024 * 1024


def models() -> Services:
    """AWS's models, where botocore is installed; else none."""
    found = importlib.util.find_spec("botocore")
    if found is None or not found.submodule_search_locations:
        return NO_SERVICES
    data = Path(next(iter(found.submodule_search_locations))) / "data"
    return Models(data) if data.is_dir() else NO_SERVICES


class Models:
    """The models under one folder; what was read is kept."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock = threading.Lock()
        self._files: Mapping[str, list[Path]] | None = None
        self._services: dict[str, Service | None] = {}

    def find(self, endpoint: Endpoint) -> Service | None:
        """The routes at an endpoint; None for a service that is unknown or speaks no REST."""
        name = endpoint.service
        if name not in self._services:
            with self._lock:
                routes = [one for file in self._by_endpoint().get(name, []) for one in _routes(file)]
                self._services[name] = Service(routes) if routes else None
        return self._services[name]

    def _by_endpoint(self) -> Mapping[str, list[Path]]:
        if self._files is None:
            files: dict[str, list[Path]] = {}
            for folder in sorted(self._data.iterdir()):
                newest = _newest(folder)
                if newest is not None and (prefix := _rest_endpoint(newest)):
                    files.setdefault(prefix, []).append(newest)
            self._files = files
        return self._files


def _newest(folder: Path) -> Path | None:
    """The model of a service's latest version, packed as it is installed."""
    try:
        latest = max(folder.iterdir(), default=None)
    except NotADirectoryError:
        return None
    return None if latest is None else latest / "service-2.json.gz"


def _rest_endpoint(file: Path) -> str | None:
    """The endpoint of a REST service, told by the first lines of its model."""
    try:
        with file.open("rb") as packed:
            begins = zlib.decompressobj(_GZIP).decompress(packed.read(_METADATA), _METADATA)
        metadata = _object(begins.decode("utf-8", "ignore"), "metadata")
    except (OSError, ValueError, zlib.error):
        return None
    rest = str(metadata.get("protocol", "")).startswith("rest-")
    return str(metadata.get("endpointPrefix", "")) if rest else None


def _routes(file: Path) -> Iterator[Route]:
    try:
        with gzip.open(file) as packed:
            operations = _object(packed.read(_MAX_MODEL).decode("utf-8"), "operations")
        for name, operation in operations.items():
            http = operation["http"] if isinstance(operation, dict) else {}
            yield route(name, http["method"], http["requestUri"])
    except (OSError, ValueError, EOFError, KeyError, zlib.error):
        return


def _object(text: str, key: str) -> dict[str, object]:
    """The object under a key, parsed alone: the shapes that follow it are most of a model."""
    at = text.index(f'"{key}"')
    found, _ = json.JSONDecoder().raw_decode(text, text.index("{", at))
    if not isinstance(found, dict):
        raise ValueError(key)
    return found
