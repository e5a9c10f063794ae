"""Both clients have the same calls, and together with the protos' RPCs nothing is left out."""

from __future__ import annotations

import inspect
from typing import Any

import gatehouse
import pytest
from gatehouse import aio
from gatehouse.v1 import model_pb2, offline_pb2, online_pb2

from tests.client.fake_server import FakeServer

_CONTEXT = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def _public(kind: type) -> dict[str, Any]:
    return {
        name: member
        for base in reversed(kind.__mro__[:-1])
        for name, member in vars(base).items()
        if (not name.startswith("_") or name in _CONTEXT or name in _CONTEXT.values()) and callable(member)
    }


@pytest.mark.parametrize("name", ["Client", "Session", "Stream"])
def test_twins_have_the_same_methods(name: str) -> None:
    """A method of one twin is a method of the other, with the same parameters and defaults."""
    plain, asynchronous = _public(getattr(gatehouse, name)), _public(getattr(aio, name))
    assert {_CONTEXT.get(method, method) for method in plain} == set(asynchronous)
    for method, function in plain.items():
        mine = inspect.signature(function).parameters
        other = inspect.signature(asynchronous[_CONTEXT.get(method, method)]).parameters
        assert [(p.name, p.kind, p.default) for p in mine.values()] == [
            (p.name, p.kind, p.default) for p in other.values()
        ], f"{name}.{method}"


@pytest.mark.parametrize("name", ["Client", "Session", "Stream"])
def test_twins_have_the_same_properties(name: str) -> None:
    """A property of one twin is a property of the other."""

    def properties(kind: type) -> set[str]:
        return {member for member, value in vars(kind).items() if isinstance(value, property)}

    assert properties(getattr(gatehouse, name)) == properties(getattr(aio, name))


def test_every_method_is_called_in_every_call_of_the_protos(client: Any, server: FakeServer) -> None:
    """Each RPC of the three services is reached by some method of the client."""
    client.suggest("how", session="s")
    session = client.session("keyboard")
    session.append(text="how")
    client.attach(session.id).delete()
    client.import_session(client.export_session(client.fork("s").id))
    with client.stream() as stream:
        stream.suggest("how")
    list(client.generate("how", model="keyboard"))
    list(client.classify([("1", "animals")], model="topics"))
    client.classify_batch([("1", "animals")], model="topics")
    list(client.transduce([("1", "3 march")], model="dates"))
    client.list_models()
    client.get_model("keyboard")
    services = [
        service
        for file in (online_pb2, offline_pb2, model_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    assert set(server.calls) == {
        f"{service.name}.{method.name}" for service in services for method in service.methods
    }
