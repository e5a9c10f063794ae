"""The self-test: it passes what is sound, and finds what is not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.self_test import self_test
from gatehouse_server.network.layer_spec import LayerSpec
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    InitialSpec,
    NetworkSpec,
    RecurrentSpec,
    parameter_shapes,
)
from gatehouse_server.network.state import State
from hypothesis import given, settings
from torch import Tensor

from tests.network.recurrents import mixed_stacks
from tests.tiny import (
    write_tiny_classifier,
    write_tiny_features,
    write_tiny_keyboard,
    write_tiny_melody,
)


def loaded(path: Path) -> LoadedModel:
    """The tiny keyboard."""
    return load_folder(write_tiny_keyboard(path / "keyboard" / "1"))


def failed(model: LoadedModel) -> list[str]:
    """The names of the checks that found something."""
    return [check.name for check in self_test(model) if not check.passed]


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (
            write_tiny_keyboard,
            ["steps", "documents", "neighbours", "finite", "scores", "reproducible", "text"],
        ),
        (write_tiny_melody, ["steps", "documents", "neighbours", "finite", "scores", "reproducible", "text"]),
        (write_tiny_classifier, ["neighbours", "pieces", "finite", "scores", "reproducible", "text"]),
        (write_tiny_features, ["steps", "documents", "neighbours", "finite", "scores", "reproducible"]),
    ],
)
def test_sound_models_pass_what_fits_them(write: object, names: list[str], tmp_path: Path) -> None:
    """Sessions for those that can run them, pieces for those that pool, text for those that read it."""
    model = load_folder(write(tmp_path / "name" / "1"))  # type: ignore[operator]
    checks = list(self_test(model))
    assert [check.name for check in checks] == names
    assert all(check.passed for check in checks), checks
    assert all("\n" not in check.told for check in checks)


@settings(max_examples=10, deadline=None)
@given(recurrent=mixed_stacks())
def test_networks_of_every_kind_pass(
    recurrent: RecurrentSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the cells, options and directions, all ways lead to one answer."""
    template = load_folder(write_tiny_features(tmp_path_factory.mktemp("any") / "motion" / "1"))
    spec = NetworkSpec(
        input=FeatureInputSpec(size=recurrent.input_size),
        recurrent=recurrent,
        initial=InitialSpec(size=3) if recurrent.causal else None,
    )
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: 0.1 * torch.randn(shape, generator=generator) for name, shape in parameter_shapes(spec).items()
    }
    network = Network.build(spec, parameters)
    assert failed(replace(template, network=network)) == []


def test_a_state_that_leaks_between_chunks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sequence is cut must not show in its answers."""
    scan = Network.scan

    def leaking(network: Network, inputs: Tensor, batch_sizes: Sequence[int], state: State) -> Tensor:
        outputs = scan(network, inputs, batch_sizes, state)
        with torch.inference_mode():
            state[0].add_(1e-6)
        return outputs

    monkeypatch.setattr(Network, "scan", leaking)
    assert failed(loaded(tmp_path)) == ["steps"]


def test_answers_that_depend_on_neighbours_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document has the answer that it has alone."""
    encode = Network.encode

    def crowded(network: Network, inputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        return encode(network, inputs, batch_sizes) * (1.0 + 1e-6 * (batch_sizes[0] - 1))

    monkeypatch.setattr(Network, "encode", crowded)
    assert failed(loaded(tmp_path)) == ["neighbours"]


def test_a_network_that_explodes_is_found(tmp_path: Path) -> None:
    """A ReLU network that grows with every step has no finite answer after a few hundred."""
    model = load_folder(write_tiny_features(tmp_path / "motion" / "1"))
    own = LayerSpec(cell="rnn_relu", input_size=3, hidden_size=4, bias=False)
    spec = NetworkSpec(input=FeatureInputSpec(size=3), recurrent=RecurrentSpec(layers=(own,)))
    parameters = {"rnn.weight_ih_l0": torch.ones(4, 3), "rnn.weight_hh_l0": torch.full((4, 4), 0.4)}
    exploding = replace(model, network=Network.build(spec, parameters))
    assert failed(exploding) == ["finite"]
