"""What a gate is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Resolve:
    """Connections to `host`:`port` go to `address`:`to`; names, SNI and Host stay."""

    host: str
    port: int
    address: str
    to: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}:{self.address}:{self.to}"


@dataclass(frozen=True, slots=True)
class Config:
    """
    The flags of `sluice up`, checked in form but not yet against the world.

    Sizes are in bytes, times in seconds.
    """

    policy: tuple[Path, ...]
    host: str
    port: int
    state: Path
    ledger: Path
    console: bool = True
    shadow: bool = False
    resolve: tuple[Resolve, ...] = ()
    upstream_ca: Path | None = None
    body_limit: int = 10 * 1024 * 1024
    hold_memory: int = 256 * 1024 * 1024
    reload: str = "ask"
    strict: bool = False
    record_reads: str = "each"
    review_group: str | None = None
    witnesses: tuple[str, ...] = ()
    max_unanchored: float = 300.0
    keep_payloads: float | None = None
    encrypt_payloads: bool = False
