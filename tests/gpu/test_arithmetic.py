"""Precision and reproducibility on a GPU."""

import numpy as np
import pytest
import torch
from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.dense import Dense

from tests.gpu.model import Sessions, V, plain_outputs, spec_of, weights_of

pytestmark = pytest.mark.gpu

UNITS = {"int8": 2.0**-8, "bfloat16": 2.0**-8, "float16": 2.0**-11, "tf32": 2.0**-11}
"""The most that rounding changes a factor by; int8's is relative to the largest of a row."""


def arithmetic_of(name):
    """As the settings name them."""
    return Arithmetic(tf32=True) if name == "tf32" else Arithmetic(precision=name)


@pytest.mark.parametrize("name", sorted(UNITS))
@pytest.mark.parametrize("terms", [96, 512, 1100])
def test_products_are_as_near_as_rounded_factors_allow(name, terms, device):
    """Both uses of a product, with rows of very different sizes: within two roundings of each term, and float32."""
    arithmetic = arithmetic_of(name)
    prepare_device("cuda", arithmetic)
    generator = torch.Generator().manual_seed(terms)
    weight, bias = torch.randn(200, terms, generator=generator), torch.randn(200, generator=generator)
    x = torch.randn(33, terms, generator=generator) * torch.logspace(-2, 2, 33).unsqueeze(1)
    base = torch.randn(33, 200, generator=generator)
    dense = Dense(weight.to(device), bias.to(device), arithmetic)
    exact = x.double() @ weight.double().T
    if name == "int8":
        sizes = x.abs().amax(1, keepdim=True).double() * weight.abs().amax(1).double() * terms
    else:
        sizes = x.abs().double() @ weight.abs().double().T
    bound = 2.1 * UNITS[name] * sizes + 1e-5 * terms
    for product, offset in (
        (dense.product(x.to(device)), bias),
        (dense.add_to(x.to(device), base.clone().to(device)), base),
    ):
        assert product.dtype == torch.float32
        assert bool(((product.cpu().double() - offset.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("name", sorted(UNITS))
def test_sessions_in_other_precisions_stay_near_float32(name, device):
    """After ten steps log-probabilities differ by no more than a hundred roundings, and are not the same."""
    spec = spec_of("lstm", layers=2)
    weights = weights_of(spec)
    inputs = torch.randint(V, (10, 40), generator=torch.Generator().manual_seed(1))
    prepare_device("cuda", FLOAT32)
    expected = plain_outputs(spec, weights, inputs, device)[-1].numpy()
    arithmetic = arithmetic_of(name)
    prepare_device("cuda", arithmetic)
    sessions = Sessions(spec, weights, device, count=40, arithmetic=arithmetic)
    for step in inputs:
        answer = sessions.write(np.arange(40), step.numpy()[None])
    difference = np.abs(answer.vectors - expected).max()
    assert 0 < difference < 100 * UNITS[name]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_reproducible_answers_do_not_depend_on_the_batch(cell, precision, device):
    """To the bit: alone, among 2 to 600 others, in other places, one step at a time or in chunks."""
    arithmetic = Arithmetic(precision=precision, reproducible=True)
    prepare_device("cuda", arithmetic)
    spec = spec_of(cell, layers=2, hidden=200)
    count, steps = 600, 4
    inputs = torch.randint(V, (steps, count), generator=torch.Generator().manual_seed(1)).numpy()
    sessions = Sessions(spec, weights_of(spec), device, count=count, arithmetic=arithmetic)
    assert sessions.network.reproducible

    def run(who, chunk):
        sessions.begin_anew()
        for begin in range(0, steps, chunk):
            answer = sessions.write(who, inputs[begin : begin + chunk, who])
        return answer.vectors, answer.best_values, answer.scores, sessions.states(who)

    everybody = np.arange(count)
    together = run(everybody, 1)
    for who in ([0], [599], [5, 4], list(range(31)), list(range(100, 357)), list(reversed(range(257)))):
        for chunk in (1, 2, 4):
            alone = run(np.array(who), chunk)
            for one, all_of_them in zip(alone, together, strict=True):
                assert np.array_equal(one, all_of_them[who])


def test_without_the_setting_a_gpu_claims_nothing(device):
    """Its fast products depend on the batch, or at least nobody knows that they do not."""
    spec = spec_of("lstm")
    assert not Sessions(spec, weights_of(spec), device, count=2).network.reproducible
