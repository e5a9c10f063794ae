"""Models that come and go in a registry: who finds them, and when they are let go."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from gatehouse_server.errors import ModelFailed, ModelNotFound
from gatehouse_server.models.model import LoadedModel, content_key, key_of_content
from gatehouse_server.models.registry import FailedModel, Registry


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, as far as a registry cares."""

    name: str
    version: str = "1"
    fingerprint: str = "f"

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def content_key(self) -> str:
        return content_key(self.key, self.fingerprint)


def loaded(*arguments: str) -> LoadedModel:
    """A model."""
    return cast(LoadedModel, cast(Any, Loaded(*arguments)))


def keys(registry: Registry) -> list[str]:
    """What is found."""
    return [model.key for model in registry.models]


def test_a_new_version_is_what_a_name_means() -> None:
    """From the moment in which it is there; the old one is found by its version."""
    registry = Registry([loaded("a", "9")])
    registry.put(loaded("a", "10"))
    assert keys(registry) == ["a@9", "a@10"]
    assert registry.get("a").version == "10"
    assert registry.get("a@9").version == "9"
    assert registry.leaving == ()


def test_a_replaced_model_is_leaving() -> None:
    """Until somebody says that it has left."""
    old, new = loaded("a"), loaded("a", "1", "g")
    registry = Registry([old])
    registry.put(new)
    assert registry.get("a@1") is new
    assert list(registry.leaving) == [old]
    registry.has_left(old)
    assert list(registry.leaving) == []


def test_a_retired_model_is_found_by_nobody() -> None:
    """A name then means what is left of it, or nothing."""
    old, new = loaded("a", "1"), loaded("a", "2")
    registry = Registry([old, new])
    assert registry.retire("a@2") is new
    assert registry.get("a") is old
    assert registry.retire("a@1") is old
    with pytest.raises(ModelNotFound):
        registry.get("a")
    assert registry.leaving == (new, old)
    assert registry.retire("a@1") is None


def test_a_model_that_comes_back_is_not_leaving() -> None:
    """The very same one, that is."""
    model = loaded("a")
    registry = Registry([model])
    registry.retire("a@1")
    registry.put(model)
    assert (keys(registry), registry.leaving) == (["a@1"], ())


def test_failures_are_noted_and_forgotten() -> None:
    """When the folder is mended, or gone."""
    registry = Registry([])
    failure = FailedModel(key="a@1", path=Path("/m/a/1"), problem="no")
    registry.note_failure(failure)
    with pytest.raises(ModelFailed):
        registry.get("a")
    registry.note_failure(replace(failure, problem="still not"))
    assert [each.problem for each in registry.failed] == ["still not"]
    registry.put(loaded("a"))
    assert registry.failed == ()
    registry.note_failure(failure)
    registry.retire("a@1")
    assert registry.failed == ()


def test_the_end_of_the_last_use_is_told() -> None:
    """Uses may overlap; one of another model says nothing."""
    first, second = loaded("a"), loaded("b")
    registry = Registry([first, second])
    told: list[str] = []
    registry.released = lambda model: told.append(model.key)
    with registry.use(first):
        with registry.use(first), registry.use(second):
            assert registry.in_use(first)
        assert told == ["b@1"]
        assert registry.in_use(first)
    assert told == ["b@1", "a@1"]
    assert not registry.in_use(first)


def test_a_key_of_content_has_the_key_in_it() -> None:
    """And a plain key is its own."""
    assert key_of_content(content_key("a@1", "f" * 64)) == key_of_content("a@1") == "a@1"
