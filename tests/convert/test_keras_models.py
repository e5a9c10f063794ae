"""Whole Keras models through the converter, compared with Keras's arithmetic in NumPy."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from gatehouse_server.convert.keras_source import KerasSource
from gatehouse_server.convert.port import ConversionError, ConvertedModel, SourceOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convert.converting import WORDS, converted
from tests.convert.keras_models import (
    Layer,
    bidirectional,
    functional,
    random_arrays,
    recurrent,
    write_h5,
    write_keras,
)
from tests.convert.keras_oracle import KerasOracle
from tests.convert.networks import logits_of, network_of, outputs_of

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def arrays_of(rng, kind, inputs, units, *, bias=True, reset_after=True):
    rows = GATES[kind] * units
    shapes = [(inputs, rows), (units, rows)]
    if bias:
        shapes.append((2, rows) if kind == "GRU" and reset_after else (rows,))
    return random_arrays(rng, *shapes)


def dense(name, inputs, size, activation, rng, **config) -> Layer:
    config = {"name": name, "units": size, "activation": activation, "use_bias": True, **config}
    shapes = [(inputs, size), (size,)] if config["use_bias"] else [(inputs, size)]
    return Layer(kind="Dense", config=config, arrays=random_arrays(rng, *shapes))


def embedding(size, width, rng, **config) -> Layer:
    config = {"name": "embedding", "input_dim": size, "output_dim": width, "mask_zero": False, **config}
    return Layer(kind="Embedding", config=config, arrays=random_arrays(rng, (size, width)))


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Layer], int]:
    """Up to three recurrent layers of any kind, as one would put them into a Sequential, and the version of Keras."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    keras, count, width = draw(st.sampled_from([2, 3])), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    layers: list[Layer] = []
    flipped = False
    for number in range(count):
        kind = draw(st.sampled_from(list(GATES)))
        units, bias = draw(st.integers(1, 6)), draw(st.booleans())
        reset_after = draw(st.booleans())
        config: dict[str, Any] = {
            "units": units,
            "use_bias": bias,
            "activation": draw(st.sampled_from(["tanh", "relu", "sigmoid", "softsign"])),
            "return_sequences": number < count - 1 or draw(st.booleans()),
        }
        if kind != "SimpleRNN":
            config["recurrent_activation"] = draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
        if kind == "GRU":
            config["reset_after"] = reset_after
        options = {"bias": bias, "reset_after": reset_after}
        one = arrays_of(rng, kind, width, units, **options)
        if draw(st.booleans()):
            merges = ["sum", "ave", "mul"] if flipped else ["concat", "sum", "ave", "mul"]
            mode = draw(st.sampled_from(merges))
            other = arrays_of(rng, kind, width, units, **options)
            inner = recurrent(kind, f"inner_{number}", **config)
            layers.append(bidirectional(f"layer_{number}", inner, [*one, *other], mode))
            width = units * (2 if mode == "concat" else 1)
        else:
            config["go_backwards"] = draw(st.booleans())
            layers.append(recurrent(kind, f"layer_{number}", one, **config))
            flipped ^= config["go_backwards"] and config["return_sequences"]
            width = units
        if draw(st.booleans()):
            layers.append(Layer(kind="Dropout", config={"name": f"dropout_{number}", "rate": 0.5}))
    return layers, keras


def read(path: Path, **options: object) -> ConvertedModel:
    """What the Keras source makes of a file."""
    return KerasSource().read(path, SourceOptions(**options))  # type: ignore[arg-type]


@given(stack=stacks(), form=st.sampled_from(["h5", "keras"]), chained=st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_stack_answers_what_keras_computes(stack, form, chained):
    """Any recurrent layers on each other, with merges, directions and dropout, in a Sequential or functional model."""
    layers, keras = stack
    size = next(layer for layer in layers if layer.arrays).arrays[0].shape[0]
    if chained:
        first = Layer(kind="InputLayer", config={"name": "input_1", "batch_input_shape": [None, None, size]})
        layers = [first, *layers]
    architecture = functional(layers, keras=keras) if chained else None
    with TemporaryDirectory() as folder:
        write = write_h5 if form == "h5" else write_keras
        found = read(write(Path(folder) / f"stack.{form}", layers, f"{keras}.9.0", architecture))
    inputs = np.random.default_rng(1).normal(size=(5, size)).astype(np.float32)
    expected = KerasOracle(layers, keras)(inputs)
    answered = outputs_of(network_of(found), inputs)
    if any("order in which it read them" in note for note in found.notes):
        answered = answered[::-1]
    np.testing.assert_allclose(answered, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("write", [write_h5, write_keras])
def test_a_classifier_of_text(tmp_path, write):
    """Embedding, two recurrent layers and a softmax become a classifier with Keras's probabilities."""
    rng = np.random.default_rng(3)
    inner = recurrent("LSTM", "lstm", units=4, return_sequences=True)
    both = arrays_of(rng, "LSTM", 5, 4) + arrays_of(rng, "LSTM", 5, 4)
    layers = [
        embedding(9, 5, rng, mask_zero=True),
        bidirectional("bidirectional", inner, both),
        recurrent("GRU", "gru", arrays_of(rng, "GRU", 8, 3), units=3),
        dense("dense", 3, 2, "softmax", rng),
    ]
    path = write(tmp_path / "topics.bin", layers, "3.11.0").rename(tmp_path / "topics.keras")
    model = converted(path, tmp_path / "models", "--labels", "good,bad", *WORDS)
    assert "mask_zero makes Keras skip id 0" in (tmp_path / "models/topics/1/card.md").read_text()
    assert model.config.task == "classifier"
    assert model.labels == ("good", "bad")
    ids = np.array([3, 8, 1, 1, 7])
    expected = KerasOracle(layers, 3)(ids)
    logits = logits_of(model.network, ids)[0]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), expected, atol=1e-5)


def test_a_language_model_is_recognised(tmp_path):
    """A softmax over the whole vocabulary at each step is a language model; TimeDistributed is seen through."""
    rng = np.random.default_rng(4)
    inner = dense("inner", 4, 7, "softmax", rng)
    layers = [
        embedding(7, 3, rng),
        recurrent("LSTM", "lstm", arrays_of(rng, "LSTM", 3, 4), units=4, return_sequences=True),
        Layer(
            kind="TimeDistributed", config={"name": "each", "layer": inner.described()}, arrays=inner.arrays
        ),
    ]
    model = converted(write_keras(tmp_path / "words.keras", layers), tmp_path / "models", *WORDS)
    assert model.config.task == "language_model"
    ids = np.array([0, 6, 2])
    logits = logits_of(model.network, ids)
    expected = KerasOracle(layers, 3)(ids)
    np.testing.assert_allclose(
        np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "pooling"), [("GlobalMaxPooling1D", "max"), ("GlobalAveragePooling1D", "mean")]
)
def test_pooled_steps_and_a_linear_head(tmp_path, kind, pooling):
    """Global pooling becomes the model's pooling, a linear Dense without a bias a head of a kind that is not told."""
    rng = np.random.default_rng(5)
    layers = [
        recurrent("GRU", "gru", arrays_of(rng, "GRU", 3, 4), units=4, return_sequences=True),
        Layer(kind=kind, config={"name": "pool"}),
        dense("dense", 4, 2, "linear", rng, use_bias=False),
    ]
    found = read(write_h5(tmp_path / "values.h5", layers, "2.15.0"))
    assert found.config["pooling"] == [pooling]
    assert found.config["head"] == {"size": 2, "bias": False}
    inputs = rng.normal(size=(6, 3)).astype(np.float32)
    np.testing.assert_allclose(
        logits_of(network_of(found), inputs)[0], KerasOracle(layers, 2)(inputs), atol=1e-5
    )


def test_an_activation_after_a_linear_layer_is_the_heads(tmp_path):
    """Dense, then Activation("sigmoid"): scores that are independent of each other."""
    rng = np.random.default_rng(6)
    layers = [
        recurrent("SimpleRNN", "rnn", arrays_of(rng, "SimpleRNN", 2, 3), units=3),
        dense("dense", 3, 2, "linear", rng),
        Layer(kind="Activation", config={"name": "squash", "activation": "sigmoid"}),
    ]
    assert read(write_keras(tmp_path / "a.keras", layers)).config["head"] == {
        "kind": "sigmoid",
        "size": 2,
        "bias": True,
    }


def test_the_two_hard_sigmoids_are_told_apart(tmp_path):
    """hard_sigmoid is a / 5 + 1/2 in Keras 2, a / 6 + 1/2 in Keras 3."""
    rng = np.random.default_rng(7)
    layer = recurrent(
        "LSTM", "lstm", arrays_of(rng, "LSTM", 2, 3), units=3, recurrent_activation="hard_sigmoid"
    )
    for version, expected in (("2.15.0", "hard_sigmoid_fifth"), ("3.0.1", "hard_sigmoid")):
        found = read(write_h5(tmp_path / "a.h5", [layer], version))
        assert found.config["recurrent"]["gate_activation"] == expected


def test_activations_as_objects(tmp_path):
    """Keras 3 may write an activation as an object with a class and a name."""
    rng = np.random.default_rng(8)
    told = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    layer = recurrent("SimpleRNN", "rnn", arrays_of(rng, "SimpleRNN", 2, 3), units=3, activation=told)
    assert read(write_keras(tmp_path / "a.keras", [layer])).config["recurrent"]["activation"] == "relu"


def test_a_backward_layer_of_its_own(tmp_path):
    """A Bidirectional may have a backward layer with other activations; they are those of the reverse direction."""
    rng = np.random.default_rng(9)
    backward = recurrent("SimpleRNN", "back", units=3, activation="relu", go_backwards=True)
    arrays = arrays_of(rng, "SimpleRNN", 2, 3) + arrays_of(rng, "SimpleRNN", 2, 3)
    inner = recurrent("SimpleRNN", "ahead", units=3)
    layer = bidirectional("both", inner, arrays, backward_layer=backward.described())
    assert read(write_keras(tmp_path / "a.keras", [layer])).config["recurrent"]["reverse"] == {
        "activation": "relu"
    }


def test_a_last_step_may_become_every_step(tmp_path):
    """--pooling none lets sessions run on a model that hands on its last step; any other pooling is refused."""
    rng = np.random.default_rng(10)
    layer = recurrent("GRU", "gru", arrays_of(rng, "GRU", 2, 3), units=3)
    path = write_keras(tmp_path / "a.keras", [layer])
    with pytest.raises(ConversionError, match="--pooling mean: the source says last"):
        read(path, pooling=("mean",))
    model = converted(path, tmp_path / "models", "--pooling", "none")
    assert model.online
    inputs = rng.normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_allclose(
        outputs_of(model.network, inputs)[-1], KerasOracle([layer], 3)(inputs), atol=1e-5
    )


def test_the_recurrent_part_of_a_larger_model(tmp_path):
    """--as encoder leaves out what can't be served, by name, and serves the rest."""
    rng = np.random.default_rng(11)
    layers = [
        Layer(kind="Conv1D", config={"name": "conv"}, arrays=random_arrays(rng, (3, 2, 4))),
        recurrent("GRU", "gru", arrays_of(rng, "GRU", 4, 3), units=3, return_sequences=True),
        Layer(kind="Attention", config={"name": "attend"}),
        dense("dense", 3, 2, "softmax", rng),
    ]
    names = Layer(kind="Conv1D", config={"name": "conv"})
    path = write_keras(tmp_path / "a.keras", [names, *layers[1:]])
    found = read(path, as_encoder=True)
    assert found.left_out == ("conv (Conv1D)", "attend (Attention)", "dense (Dense)")
    assert found.config["task"] == "encoder"
    model = converted(path, tmp_path / "models", "--as", "encoder")
    inputs = rng.normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_allclose(
        outputs_of(model.network, inputs), KerasOracle([layers[1]], 3)(inputs), atol=1e-5
    )


def test_the_older_place_of_weights(tmp_path):
    """tf.keras 2.13 kept arrays of a `.keras` file below another name."""
    rng = np.random.default_rng(12)
    layer = recurrent("GRU", "gru", arrays_of(rng, "GRU", 2, 3), units=3)
    path = write_keras(tmp_path / "a.keras", [layer], "2.13.1", prefix="_layer_checkpoint_dependencies")
    assert read(path).config["recurrent"]["hidden_size"] == 3


def test_layers_of_one_class_are_told_apart_by_number(tmp_path):
    """The second LSTM of a `.keras` file has the weights of the second, whatever its name."""
    rng = np.random.default_rng(13)
    layers = [
        recurrent("LSTM", "zeta", arrays_of(rng, "LSTM", 2, 3), units=3, return_sequences=True),
        recurrent("LSTM", "alpha", arrays_of(rng, "LSTM", 3, 3), units=3),
    ]
    found = read(write_keras(tmp_path / "a.keras", layers))
    np.testing.assert_array_equal(found.parameters["rnn.weight_ih_l1"], layers[1].arrays[0].T)


def test_a_mask_is_told(tmp_path):
    """A Masking layer changes nothing for sequences without padding; that it is not computed is said."""
    rng = np.random.default_rng(14)
    layers = [
        Layer(kind="Masking", config={"name": "mask", "mask_value": -1.0}),
        recurrent("GRU", "gru", arrays_of(rng, "GRU", 2, 3), units=3),
    ]
    notes = read(write_keras(tmp_path / "a.keras", layers)).notes
    assert any("mask (Masking): makes Keras skip steps whose values are all -1.0" in note for note in notes)
