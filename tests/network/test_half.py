"""Products of 16-bit factors: how far from float32, and that nothing else is rounded."""

from functools import partial

import pytest
import torch
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.cell_options import DEFAULT_OPTIONS, CellOptions
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.half import HalfKernel
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)

from .oracle import random_parameters

UNITS = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
"""Half the distance of two neighbours at 1: the most that rounding changes a factor by, relatively."""

PRECISIONS = sorted(UNITS)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("columns", "terms"), [(1, 1), (13, 2), (96, 96), (52, 670), (7, 3000)])
@pytest.mark.parametrize("bias", [True, False])
def test_only_the_factors_are_rounded(precision, columns, terms, bias) -> None:
    """The result is the float32 sum of exact products of rounded factors, and so within two roundings of each term."""
    generator = torch.Generator().manual_seed(columns + terms)
    weight = torch.randn(columns, terms, generator=generator)
    offset = torch.randn(columns, generator=generator) if bias else None
    x, base = torch.randn(9, terms, generator=generator), torch.randn(9, columns, generator=generator)
    dense = Dense(weight, offset, Arithmetic(precision=precision))
    dtype = getattr(torch, precision)
    rounded = x.to(dtype).double() @ weight.to(dtype).double().T
    exact = x.double() @ weight.double().T
    bound = 2.1 * UNITS[precision] * (x.double().abs() @ weight.double().abs().T) + 1e-3 * UNITS[precision]
    product, added = dense.product(x), dense.add_to(x, base.clone())
    assert product.dtype == added.dtype == torch.float32
    plus = 0 if offset is None else offset.double()
    assert torch.allclose(product.double(), rounded + plus, rtol=0, atol=1e-6 * terms + 1e-6)
    assert torch.allclose(added.double(), rounded + base.double(), rtol=0, atol=1e-6 * terms + 1e-6)
    assert bool(((rounded - exact).abs() <= bound).all())
    assert bool(((rounded - exact).abs() > 0).any())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("cell", "hidden", "projection", "layers"),
    [("lstm", 670, 96, 1), ("lstm", 33, 1, 2), ("gru", 45, 0, 2), ("rnn_tanh", 45, 0, 1)],
)
def test_a_network_stays_near_float32(precision, cell, hidden, projection, layers) -> None:
    """After 6 steps outputs between -1 and 1, and logits made of them, are within eight roundings of float32's, and
    rows are independent of the batch here as there.
    """
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=203, embedding_size=24),
        recurrent=RecurrentSpec.uniform(
            cell=cell, input_size=24, hidden_size=hidden, projection_size=projection, layers=layers
        ),
        head=HeadSpec(kind="softmax", size=203),
    )
    parameters = random_parameters(spec)
    exact = Network.build(spec, parameters)
    rounded = Network.build(spec, parameters, arithmetic=Arithmetic(precision=precision))
    assert rounded.reproducible
    ids = torch.randint(203, (40, 6), generator=torch.Generator().manual_seed(1))
    outputs, logits = _run(exact, ids)
    some, some_logits = _run(rounded, ids)
    assert 0 < float((some - outputs).abs().max()) < 8 * UNITS[precision]
    assert float((some_logits - logits).abs().max()) < 8 * UNITS[precision]
    alone, _ = _run(rounded, ids[:1])
    assert torch.equal(alone[0], some[0])


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("lstm", DEFAULT_OPTIONS),
        ("lstm", CellOptions(coupled=True)),
        ("lstm", CellOptions(activation="relu", gate_clip=1.0, cell_clip=1.0)),
        ("gru", DEFAULT_OPTIONS),
        ("gru", CellOptions(reset="before", gate_activation="hard_sigmoid")),
        ("rnn", CellOptions(activation="softsign")),
        ("rnn_tanh", DEFAULT_OPTIONS),
        ("rnn_relu", DEFAULT_OPTIONS),
    ],
    ids=["lstm", "coupled", "general lstm", "gru", "general gru", "softsign", "tanh", "relu"],
)
def test_features_that_float16_cannot_hold_make_a_state_no_number(cell, options) -> None:
    """Beyond 65,504, in every cell, though infinity would only saturate its gates: the engine refuses such states. Just
    below, and in the next row, they are sound.
    """
    spec = NetworkSpec(
        input=FeatureInputSpec(size=2),
        recurrent=RecurrentSpec.uniform(cell=cell, input_size=2, hidden_size=8, options=options),
        head=None,
    )
    parameters = random_parameters(spec)
    parameters["rnn.weight_ih_l0"] *= 2e-5
    network = Network.build(spec, parameters, arithmetic=Arithmetic(precision="float16"))
    state = network.layout.zeros(2)
    network.scan(torch.tensor([[70_000.0, -35_000.0], [65_504.0, -35_000.0]]), (2,), state)
    refused, taken = torch.cat(state, dim=1)
    assert not refused.isfinite().all()
    assert taken.isfinite().all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_kernel_of_a_gpu_asks_for_what_it_promises(precision, monkeypatch) -> None:
    """It hands 16-bit factors to torch, NaN where float16 has no room, and takes float32 sums. A CPU's torch has no
    such product, so it is made up.
    """
    asked = []

    def mm(x, weight, *, out_dtype):
        asked.append((x.dtype, weight.dtype, out_dtype))
        return x.float() @ weight.float()

    monkeypatch.setattr(torch, "mm", mm)
    weight, bias, x, base = torch.randn(7, 30), torch.randn(7), torch.randn(4, 30), torch.randn(4, 7)
    dtype = getattr(torch, precision)
    x[0, 0], x[1, 0] = 70_000.0, -0.0
    kernel, expected = HalfKernel(weight, bias, dtype), Dense(weight, bias, Arithmetic(precision=precision))
    product, added = kernel.product(x), kernel.add_to(x, base.clone())
    close = partial(torch.allclose, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert close(product, expected.product(x))
    assert close(added, expected.add_to(x, base.clone()))
    assert close(HalfKernel(weight, None, dtype).product(x) + bias, product)
    for made in (product, added):
        assert made[0].isnan().all() == (precision == "float16")
        assert made[1:].isfinite().all()
    assert set(asked) == {(dtype, dtype, torch.float32)}


def _run(network, ids):
    """ids (B, T), one step at a time -> the last outputs and their logits."""
    state = network.layout.zeros(ids.shape[0])
    for step in range(ids.shape[1]):
        outputs = network.scan(ids[:, step], (ids.shape[0],), state)
    return outputs.clone(), network.head.logits(outputs)[:, : network.head.size]
