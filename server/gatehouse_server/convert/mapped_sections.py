"""The sections of config.json that a mapping file has, and the parameters that follow from them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from gatehouse_server.convert.port import ConversionError
from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.recurrent_section import Recurrent
from gatehouse_server.models.section import Section
from gatehouse_server.models.sections import FeatureInput, Head, Initial, TokenInput
from gatehouse_server.network.spec import NetworkSpec


class _Sections(Section):
    input: Annotated[TokenInput | FeatureInput, Field(discriminator="kind")]
    recurrent: Recurrent
    pooling: Annotated[tuple[str, ...], Field(strict=False)] = ()
    head: Head | None = None
    initial: Initial | None = None
    task: str | None = None
    labels: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def spec(self) -> NetworkSpec:
        """Raises ValueError for dimensions that do not fit each other."""
        own = {name: getattr(self, name) for name in ("input", "recurrent", "pooling", "head", "initial")}
        # Without the checks of a whole config.json, which needs a task and labels that may come from elsewhere.
        return ModelConfig.model_construct(**own).network_spec()


def spec_of(config: Mapping[str, Any]) -> NetworkSpec:
    """The network that the sections describe; a head without a kind is taken for a linear one.

    Raises ConversionError, whose one line names what is wrong.
    """
    given = dict(config)
    if isinstance(given.get("head"), dict):
        given["head"] = {"kind": "linear"} | given["head"]
    try:
        return _Sections.model_validate_json(json.dumps(given)).spec()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(["config", *(str(part) for part in problem["loc"])])
        raise _refused(f"{path}: {problem['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise _refused(f"config: {error}") from error


def _refused(problem: str) -> ConversionError:
    return ConversionError(f"--mapping: {problem}", "write the sections as docs/model-format.md describes")
