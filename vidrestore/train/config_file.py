"""Reads a config of a training run from TOML, and makes plain data of it for a checkpoint."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from vidrestore.errors import SettingsError
from vidrestore.train.config import TrainConfig


def read_config(path: Path) -> TrainConfig:
    """Read a config.

    Raises:
        SettingsError: The file cannot be read, is no TOML, has an unknown table or key, or a value
            of the wrong type or out of range; the text names it.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read the config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML file: {error}") from error
    try:
        return parse_config(tables)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_config(tables: Mapping[str, Any]) -> TrainConfig:
    """Make a config of nested tables; see ``read_config``."""
    hints = get_type_hints(TrainConfig)
    parts = {}
    for name, table in tables.items():
        if name not in hints:
            raise SettingsError(f"unknown table '{name}': use {', '.join(hints)}")
        if not isinstance(table, Mapping):
            raise SettingsError(f"'{name}' is a table: write [{name}] on a line of its own")
        parts[name] = _parse_table(hints[name], table, name)
    return TrainConfig(**parts)


def as_tables(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Return a config as plain data that ``parse_config`` turns back into it; None is left out."""
    return {
        name: {key: _plain(value) for key, value in table.items() if value is not None}
        for name, table in dataclasses.asdict(config).items()
    }


_Table = TypeVar("_Table")


def _parse_table(kind: type[_Table], table: Mapping[str, Any], name: str) -> _Table:
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise SettingsError(f"unknown key '{key}' in [{name}]: use {', '.join(hints)}")
        values[key] = _convert(hints[key], value, f"[{name}] {key}")
    try:
        return kind(**values)
    except SettingsError as error:
        raise SettingsError(f"[{name}] {error}") from None


def _convert(hint: object, value: object, name: str) -> object:
    options = [option for option in get_args(hint) if option is not NoneType]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if not isinstance(value, str) or value not in set(hint):
            raise SettingsError(f"{name} is {value!r}: use {', '.join(hint)}")
        return hint(value)
    if getattr(hint, "__origin__", None) is tuple:
        return _convert_list(options, value, name)
    kind: Any = options[0] if options else hint
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif type(value) is kind:
        return value
    raise SettingsError(f"{name} is {value!r}: use a {_NAMES[kind]}")


def _convert_list(options: list[object], value: object, name: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{name} is {value!r}: use a list")
    if options[-1] is Ellipsis:
        options = [options[0]] * len(value)
    if len(value) != len(options):
        raise SettingsError(f"{name} has {len(value)} values: use {len(options)}")
    pairs = zip(options, value, strict=True)
    return tuple(_convert(option, item, name) for option, item in pairs)


_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path | StrEnum):
        return str(value)
    return value
