"""8-bit weights: close to float32 within a bound that can be told, and still independent of the batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gatehouse_server.app.model_loading import load_models
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.dense import Dense
from gatehouse_server.network.int8 import (
    FloatMultiplication,
    IntegerMultiplication,
    choose_int8_kernel,
    is_exact,
    quantized_rows,
)
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
)
from gatehouse_server.settings import Settings
from torch import Tensor

from tests.tiny import write_tiny_keyboard

from .oracle import random_parameters

INT8 = Arithmetic(precision="int8")
# Of outputs between -1 and 1, and of logits made of them: less than twice the largest difference of these networks.
_NETWORK_BOUND = 0.05
_BATCH_SIZES = (1, 2, 3, 8, 33, 64, 200)
_SHAPES = [(1, 1), (2, 13), (13, 1), (1, 96), (96, 192), (52, 670), (1000, 96), (3, 1100), (5, 3000)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_rows_are_rounded_to_half_a_level_of_their_own() -> None:
    """An entry moves by at most half of its row's 127th part; zero stays zero, and so does a row of zeros."""
    x = torch.randn(6, 50) * torch.tensor([[1e-6], [1.0], [1e6], [1e30], [0.0], [3.0]])
    x[:, 7] = 0.0
    integers, scales = quantized_rows(x)
    assert integers.dtype == torch.int8
    moved = (integers.double() * scales.double() - x.double()).abs()
    assert bool((moved <= 0.5001 * x.double().abs().amax(dim=1, keepdim=True) / 127).all())
    assert not integers[:, 7].any()
    assert not integers[4].any()
    assert int(integers[1].abs().max()) == 127


@pytest.mark.parametrize(("columns", "terms"), _SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_as_near_as_rounding_allows(columns: int, terms: int, bias: bool) -> None:
    """|int8 - exact| <= 127.25 terms * scale of the row * scale of the output, and float32's own rounding."""
    generator = torch.Generator().manual_seed(columns + terms)
    weight = torch.randn(columns, terms, generator=generator)
    offset = torch.randn(columns, generator=generator) if bias else None
    x, base = torch.randn(9, terms, generator=generator), torch.randn(9, columns, generator=generator)
    dense = Dense(weight, offset, INT8)
    assert dense.reproducible
    bound = (
        127.25 * terms * (x.abs().amax(1, keepdim=True) / 127) * (weight.abs().amax(1) / 127) + 1e-5 * terms
    )
    exact = x.double() @ weight.double().T
    assert bool(((dense.add_to(x, base.clone()) - base - exact).abs() <= bound).all())
    if offset is not None:
        exact = exact + offset
    assert bool(((dense.product(x) - exact).abs() <= bound).all())


# Not those of one term, for which floats are taken: torch mistakes their layout.
@pytest.mark.parametrize(("columns", "terms"), [shape for shape in _SHAPES if shape[1] > 1])
def test_integer_and_float_instructions_give_the_same_bits(columns: int, terms: int) -> None:
    """The way for processors that multiply integers wrongly is another speed, not another answer."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-127, 128, (columns, terms), generator=generator, dtype=torch.int8)
    by_integers, by_floats = IntegerMultiplication(weights), FloatMultiplication(weights)
    assert is_exact(by_integers, weights)
    assert is_exact(by_floats, weights)
    for rows in _BATCH_SIZES:
        integers = torch.randint(-127, 128, (rows, terms), generator=generator, dtype=torch.int8)
        assert torch.equal(by_integers(integers), by_floats(integers))


def test_a_processor_that_saturates_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pairs of products are cut off at 16 bits, as some instructions do, integers are not used."""
    weight, x = torch.randn(40, 64), torch.randn(5, 64)
    expected = choose_int8_kernel(weight, None).kernel.product(x)

    def saturating(integers: Tensor, weights: Tensor) -> Tensor:
        products = integers.int().unsqueeze(2) * weights.int().unsqueeze(0)
        pairs = products[:, 0::2] + products[:, 1::2]
        return pairs.clamp(-(2**14), 2**14 - 1).sum(dim=1, dtype=torch.int32)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    choice = choose_int8_kernel(weight, None)
    assert choice.reproducible
    assert torch.equal(choice.kernel.product(x), expected)
    assert choice.bytes > weight.nbytes


@pytest.mark.parametrize(
    ("cell", "hidden", "projection", "layers"),
    [
        ("lstm", 670, 96, 1),
        ("lstm", 33, 1, 2),
        ("lstm", 1100, 0, 1),
        ("gru", 13, 0, 2),
        ("rnn_tanh", 45, 0, 1),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_a_network_of_int8_stays_near_and_independent_of_the_batch(
    cell: str, hidden: int, projection: int, layers: int, folded: bool
) -> None:
    """After 6 steps outputs and logits are within 0.05 of float32's; batch size, place and chunks change no bit."""
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=203, embedding_size=24),
        recurrent=RecurrentSpec.uniform(
            cell=cell, input_size=24, hidden_size=hidden, projection_size=projection, layers=layers
        ),
        head=HeadSpec(kind="softmax", size=203),
    )
    parameters, limit = random_parameters(spec), 2**30 if folded else 0
    exact = Network.build(spec, parameters, fold_limit_bytes=limit)
    network = Network.build(spec, parameters, fold_limit_bytes=limit, arithmetic=INT8)
    assert network.reproducible
    ids = torch.randint(203, (max(_BATCH_SIZES), 6), generator=torch.Generator().manual_seed(1))
    outputs, logits = _run(network, ids)
    exact_outputs, exact_logits = _run(exact, ids)
    assert float((outputs - exact_outputs).abs().max()) <= _NETWORK_BOUND
    assert float((logits - exact_logits)[:, :203].abs().max()) <= _NETWORK_BOUND
    assert not torch.equal(outputs, exact_outputs)
    for size in _BATCH_SIZES:
        for part in (slice(0, size), slice(ids.shape[0] - size, None)):
            for one_by_one in (True, False):
                some_outputs, some_logits = _run(network, ids[part], one_by_one)
                assert torch.equal(some_outputs, outputs[part])
                assert torch.equal(some_logits, logits[part])


def _run(network: Network, ids: Tensor, one_by_one: bool = True) -> tuple[Tensor, Tensor]:
    """ids (B, T), step by step or in one scan -> the last output (B, R) and its logits (B, width)."""
    assert network.head is not None
    rows, steps = ids.shape
    state = network.layout.zeros(rows)
    if one_by_one:
        for step in range(steps):
            output = network.scan(ids[:, step], (rows,), state)
    else:
        output = network.scan(ids.t().reshape(-1), (rows,) * steps, state)[-rows:]
    return output.clone(), network.head.logits(output)


def test_a_loud_neighbour_changes_nothing() -> None:
    """Huge and non-finite values in one row leave the bits of the others, and are not hidden in their own."""
    recurrent = RecurrentSpec.uniform(cell="rnn_relu", input_size=6, hidden_size=20)
    spec = NetworkSpec(input=FeatureInputSpec(size=6), recurrent=recurrent)
    network = Network.build(spec, random_parameters(spec), arithmetic=INT8)
    quiet = torch.randn(9, 6)
    loud = quiet.clone()
    loud[4] = 1e30
    loud[5, 2] = torch.nan
    expected, _ = network.step(quiet, network.layout.zeros(9))
    actual, _ = network.step(loud, network.layout.zeros(9))
    others = [0, 1, 2, 3, 6, 7, 8]
    assert torch.equal(actual[others], expected[others])
    assert not torch.isfinite(actual[5]).any()


def test_the_setting_makes_models_smaller(tmp_path: Path) -> None:
    """`precision` reaches the models: less memory is shown, and 8-bit weights are what computes."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1")
    loaded = {
        precision: load_models(
            Settings(models=(tmp_path,), embedded_models=False, fold_limit_bytes=0, precision=precision),
            "cpu",
        ).get("keyboard")
        for precision in ("float32", "int8")
    }
    assert loaded["int8"].fingerprint == loaded["float32"].fingerprint
    assert loaded["int8"].memory_bytes == loaded["int8"].network.parameter_bytes
    assert loaded["int8"].memory_bytes < 0.6 * loaded["float32"].memory_bytes
    ids = torch.arange(5)
    outputs = [model.network.step(ids, model.network.layout.zeros(5))[0] for model in loaded.values()]
    assert not torch.equal(*outputs)
