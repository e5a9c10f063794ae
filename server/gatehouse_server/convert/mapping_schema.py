"""The mapping file: for each parameter of a model, where it comes from and what is done to it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gatehouse_server.convert.port import ConversionError

Range = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]], Field(strict=False)]
_SHOWN = 3


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recipe(_Section):
    """How one parameter is made. The steps are taken in the order of the fields.

    `source`: the name of an array, or of several that are joined by rows, after all that is done by columns.
    `transpose`: swap the two axes. `part`: of a joint matrix, the columns of the layer's input, or of its recurrent
    state, after transposing; the input's come first, unless `recurrent_first`. `rows`, `columns`: from, and to below.
    `gates`: the order of the gates in the source, by our letters or their usual synonyms. `scale`, `add`: a number, or
    one for each gate that is named. `value` instead of a source: the same number everywhere.
    """

    source: str | Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    value: float | None = None
    transpose: bool = False
    part: Literal["input", "recurrent"] | None = None
    recurrent_first: bool = False
    columns: Range | None = None
    rows: Range | None = None
    gates: str | None = None
    scale: float | dict[str, float] = 1.0
    add: float | dict[str, float] = 0.0

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.source is None) == (self.value is None):
            raise ValueError("expected a source or a value, one of the two")
        if self.value is not None and len(self.model_fields_set) > 1:
            raise ValueError("a value stands alone")
        if self.gates is None and (isinstance(self.scale, dict) or isinstance(self.add, dict)):
            raise ValueError("scale and add for single gates need the order of the gates in `gates`")
        for name in ("columns", "rows"):
            kept = getattr(self, name)
            if kept is not None and kept[0] >= kept[1]:
                raise ValueError(f"{name}: expected from, and to above it, got {list(kept)}")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of all arrays that it takes."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, str) else self.source


class ParameterMap(_Section):
    """The whole file. `config`: sections of config.json (`input`, `recurrent`, and where they apply `pooling`, `head`,
    `initial`, `task`, `labels`). `ignore`: patterns of names in the source that are not needed.
    """

    config: dict[str, Any]
    parameters: dict[str, Recipe]
    ignore: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="before")
    @classmethod
    def _a_name_is_a_recipe(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("parameters"), dict):
            recipes = {
                name: {"source": recipe} if isinstance(recipe, str) else recipe
                for name, recipe in value["parameters"].items()
            }
            return value | {"parameters": recipes}
        return value


def parse_mapping(content: str, where: str) -> ParameterMap:
    """Read a mapping file. Raises ConversionError, whose one line names each offending key."""
    try:
        return ParameterMap.model_validate_json(content)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            path = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{path}: {message}" if path else message)
        more = len(problems) - _SHOWN
        told = "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise ConversionError(
            f"--mapping {where}: {told}", "write it as docs/converting.md describes"
        ) from error
