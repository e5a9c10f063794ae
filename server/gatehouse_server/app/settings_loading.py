"""Settings from the command line, the environment and a TOML file.

What is given on the command line counts before the environment, and that before the file. A misspelt name is
an error in each of them: a setting that is not understood must not silently mean its default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gatehouse_server.settings import ENVIRONMENT_PREFIX, FILE_KEY, Settings, flag_of, variable_of

CONFIG_VARIABLE = "GATEHOUSE_CONFIG"

# Set for the client's side, or by Kubernetes for every service named `gatehouse`.
_FOREIGN_VARIABLES = re.compile(r"GATEHOUSE_(TARGET|ADMIN_TARGET|SERVICE_.*|PORT_\d.*)")


class SettingsError(Exception):
    """A setting is unknown or has a bad value. `str` is one line that names the flag."""


def load_settings(given: Mapping[str, object] | None = None, *, config: Path | None = None) -> Settings:
    """The settings from the command line (`given`, by field), the process's environment and the file.

    The file is `config`, else what GATEHOUSE_CONFIG names. Raises SettingsError.
    """
    environment = os.environ
    _check_variables(environment)
    path = config or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    from_file = _read_file(path) if path is not None else {}
    given = dict(given or {})
    sources: dict[str, Any] = {**given, FILE_KEY: from_file}
    try:
        return Settings(**sources)
    except ValidationError as error:
        raise SettingsError(_one_line(error, given, environment, path)) from error


def _check_variables(environment: Mapping[str, str]) -> None:
    known = {variable_of(name) for name in Settings.model_fields} | {CONFIG_VARIABLE}
    for name in environment:
        if (
            name.startswith(ENVIRONMENT_PREFIX)
            and name not in known
            and not _FOREIGN_VARIABLES.fullmatch(name)
        ):
            raise SettingsError(f"{name}: there is no such setting{_nearest(name, known)}")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config: cannot read {path} ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config: {path} is not valid TOML ({error})") from error
    for name in content:
        if name not in Settings.model_fields:
            raise SettingsError(
                f"{name} in {path}: there is no such setting{_nearest(name, Settings.model_fields)}"
            )
    return content


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f". Did you mean {near[0]}?" if near else ". See `gatehouse serve --help`"


def _one_line(
    error: ValidationError, given: Mapping[str, object], environment: Mapping[str, str], path: Path | None
) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    name = str(problem["loc"][0])
    if name in given:
        origin = ""
    elif variable_of(name) in environment:
        origin = f" (from {variable_of(name)})"
    else:
        origin = f" (from {path})"
    message = problem["msg"]
    if name == "port" and str(problem["input"]).startswith("tcp://"):
        origin += (
            ", which Kubernetes sets for a service of that name: give the pod `enableServiceLinks: false`"
        )
    more = error.error_count() - 1
    rest = f"; and {more} more" if more else ""
    return f"{flag_of(name)}: {message[:1].lower()}{message[1:]}, got {problem['input']!r}{origin}{rest}"
