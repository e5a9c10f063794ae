"""docs/converting.md says what the command does."""

import re
from pathlib import Path

from gatehouse_server.convert.command import convert
from gatehouse_server.convert.mapping_schema import ParameterMap, Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "converting.md").read_text(encoding="utf-8")


def test_every_option_is_documented():
    """The page names every option of the command, and no other."""
    options = {flag for parameter in convert.params for flag in parameter.opts if flag.startswith("--")}
    assert options - set(re.findall(r"--[a-z-]+", PAGE)) == set()
    section = PAGE.partition("```\n")[2]
    elsewhere = {"--models"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section)) - options - elsewhere == set()


def test_every_key_of_a_mapping_is_documented():
    """So are the keys of a mapping file and of its recipes."""
    keys = {*ParameterMap.model_fields, *Recipe.model_fields}
    assert {key for key in keys if f"`{key}`" not in PAGE and f'"{key}"' not in PAGE} == set()
