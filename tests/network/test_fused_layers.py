"""Weights for fused kernels: who holds them, and that they are held once."""

from __future__ import annotations

import pytest
import torch
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.fused_layers import FusedLayers, are_layers_fused
from gatehouse_server.network.fused_reading import FusedReader
from gatehouse_server.network.network import Network
from gatehouse_server.network.packing import pack
from gatehouse_server.network.spec import FeatureInputSpec, NetworkSpec, RecurrentSpec, parameter_shapes
from gatehouse_server.network.stepped_reading import SteppedReader

from .oracle import random_parameters
from .readings import RECURRENTS, drained, expected_of, inputs_of, spec_of

# torch says so itself when it computes projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.mark.parametrize("recurrent", RECURRENTS)
def test_parameters_are_held_once(recurrent: RecurrentSpec) -> None:
    """By the network's names, of the same content, and counted; drawing no random numbers."""
    spec = spec_of(recurrent, tokens=True)
    given_ones = random_parameters(spec)
    before = torch.get_rng_state()
    layers = FusedLayers(spec, {name: tensor.half() for name, tensor in given_ones.items()}, "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    names = {name for name in parameter_shapes(spec) if not name.startswith("head.")}
    assert layers.parameters.keys() == names
    assert all(torch.equal(layers.parameters[name], given_ones[name].half().float()) for name in names)
    assert layers.bytes == sum(given_ones[name].nbytes for name in names)
    assert all(
        one.data_ptr() == other.data_ptr()
        for one, other in zip(layers.parameters.values(), layers.parameters.values(), strict=True)
    )


@pytest.mark.parametrize(
    ("device", "arithmetic", "expected"),
    [
        ("cuda", Arithmetic(), True),
        ("cuda", Arithmetic(tf32=True), True),
        ("cuda", Arithmetic(precision="bfloat16"), True),
        ("cuda", Arithmetic(precision="int8"), False),
        ("cuda", Arithmetic(reproducible=True), False),
        ("cpu", Arithmetic(), False),
    ],
)
def test_fused_kernels_are_for_gpus_that_need_not_be_reproducible(
    device: str, arithmetic: Arithmetic, expected: bool
) -> None:
    """Elsewhere the network's own scan reads."""
    spec = spec_of(RECURRENTS[0], tokens=True)
    assert are_layers_fused(spec, torch.device(device), arithmetic) is expected


@pytest.fixture
def _fused_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatehouse_server.network.network.are_layers_fused", lambda *_: True)


def test_on_a_cpu_nothing_is_held_for_fused_kernels() -> None:
    """The reader there is the scan's, and the weights are counted once."""
    spec = spec_of(RECURRENTS[0], tokens=True)
    network = Network.build(spec, random_parameters(spec))
    assert isinstance(network.reader(), SteppedReader)
    assert network._fused is None


@pytest.mark.usefixtures("_fused_everywhere")
def test_a_network_for_whole_sequences_holds_its_weights_once() -> None:
    """With fused layers the scan's own weights and tables are not made, unless somebody asks for every output."""
    spec = spec_of(RECURRENTS[1], tokens=True)
    parameters = random_parameters(spec)
    network = Network.build(spec, parameters)
    assert isinstance(network.reader(), FusedReader)
    assert network.head is not None
    recurrent_bytes = sum(
        parameters[name].nbytes for name in parameter_shapes(spec) if not name.startswith("head.")
    )
    held = recurrent_bytes + network.head.dense.bytes
    assert (network.parameter_bytes, network.folded_bytes) == (held, 0)
    assert not network.reproducible
    sequences = inputs_of(spec, [9, 4])
    packed = pack(sequences)
    expected = expected_of(spec, parameters, sequences)
    actual, _ = drained(network.reader().summarize(packed.data, packed.batch_sizes))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert network.parameter_bytes == held
    torch.testing.assert_close(
        network.summarize(packed.data, packed.batch_sizes), expected, rtol=1e-5, atol=1e-5
    )
    assert network.parameter_bytes > held


@pytest.mark.usefixtures("_fused_everywhere")
def test_a_network_for_sessions_too_can_do_both() -> None:
    """One direction, no pooling: steps by the scan and documents by the fused layers, both counted."""
    recurrent = RecurrentSpec.uniform(cell="lstm", input_size=5, hidden_size=8, layers=2)
    spec = spec_of(recurrent, tokens=True, pooling=())
    parameters = random_parameters(spec)
    network = Network.build(spec, parameters)
    plain = FusedLayers(spec, parameters, "cpu").bytes
    assert network.parameter_bytes > 2 * (plain - parameters["embedding.weight"].nbytes)
    assert network.folded_bytes > 0
    packed = pack(inputs_of(spec, [9, 9]))
    stepped = network.scan(packed.data, packed.batch_sizes, network.layout.zeros(2))[-2:].clone()
    summary, _ = drained(network.reader().summarize(packed.data, packed.batch_sizes))
    torch.testing.assert_close(summary, stepped, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_fused_everywhere")
def test_encoders_have_fused_layers_too() -> None:
    """A network without an output layer reads whole documents as others do."""
    recurrent = RecurrentSpec.uniform(cell="lstm", input_size=5, hidden_size=8)
    spec = NetworkSpec(input=FeatureInputSpec(size=5), recurrent=recurrent)
    assert isinstance(Network.build(spec, random_parameters(spec)).reader(), FusedReader)
