"""What all sections of config.json share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(gt=0, le=2**31 - 1)]


class Section(BaseModel):
    """An object of config.json."""

    # Strict: "128" is not a size. Extra keys are refused, because a misspelt key would silently mean its
    # default.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
