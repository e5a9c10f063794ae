"""Keras files that can't be converted: one line that names what is in the way, nothing written."""

import h5py
import numpy as np
import pytest

from tests.convert.converting import converted, refusal
from tests.convert.keras_models import (
    Layer,
    bidirectional,
    functional,
    random_arrays,
    recurrent,
    sequential,
    write_h5,
    write_keras,
)


def lstm(name="lstm", inputs=2, **config):
    """A recurrent layer with weights for three units, whatever the arguments say."""
    arrays = random_arrays(np.random.default_rng(0), (inputs, 12), (3, 12), (12,))
    return recurrent("LSTM", name, arrays, **{"units": 3, **config})


def refused(tmp_path, layers, version="3.11.0", **how):
    """The line for a `.keras` file of these layers."""
    path = write_keras(tmp_path / "model.keras", layers, version, **how)
    return refusal(path, tmp_path / "models")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"activation": "elu"}, "layer lstm (LSTM): activation 'elu' is not computed by any cell"),
        ({"activation": "linear"}, "activation 'linear' is not computed"),
        ({"activation": None}, "activation 'linear' is not computed"),
        ({"activation": {"class_name": "MyOwn", "config": {}}}, "activation 'MyOwn' is not computed"),
        (
            {"activation": {"class_name": "function", "config": "tanh", "registered_name": "mine>tanh"}},
            "activation 'mine>tanh' is not computed",
        ),
        ({"recurrent_activation": "tanh"}, "recurrent_activation 'tanh' is not computed"),
        ({"return_state": True}, "layer lstm (LSTM): hands on its state"),
        ({"time_major": True}, "layer lstm (LSTM): time_major has steps before sequences"),
        ({"units": "3"}, "expected units to be a dimension, got '3'"),
        ({"units": True}, "expected units to be a dimension, got True"),
        ({"units": -3}, "expected units to be a dimension, got -3"),
        ({"units": 2**40}, "expected units to be a dimension"),
        ({"use_bias": 1}, "expected use_bias to be true or false, got 1"),
        (
            {"dtype": {"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}},
            "computes in int8",
        ),
    ],
)
def test_what_no_cell_computes_is_named(tmp_path, config, told):
    """The layer and the argument are in the line."""
    assert told in refused(tmp_path, [lstm(**config)])


def test_hard_sigmoid_of_an_unknown_version(tmp_path):
    """Without a version it can't be told which of two functions hard_sigmoid is."""
    layer = lstm(recurrent_activation="hard_sigmoid")
    line = refusal(write_h5(tmp_path / "a.h5", [layer], ""), tmp_path / "models")
    assert "recurrent_activation is hard_sigmoid, of which Keras 2 and 3 have different ones" in line


def test_keras_1(tmp_path):
    """Its layers had other arguments."""
    line = refusal(write_h5(tmp_path / "a.h5", [lstm()], "1.2.2"), tmp_path / "models")
    assert "is of Keras 1.2.2" in line


@pytest.mark.parametrize(
    "layer",
    [
        Layer(kind="Conv1D", config={"name": "odd"}),
        Layer(kind="Lambda", config={"name": "odd", "function": "ex()"}),
        Layer(kind="BatchNormalization", config={"name": "odd"}),
        Layer(kind="Dense", config={"name": "odd", "units": 2, "activation": "relu"}),
        Layer(kind="Flatten", config={"name": "odd"}),
        Layer(kind="Activation", config={"name": "odd", "activation": "softmax"}),
        Layer(kind="SomebodysOwn", config={"name": "odd"}),
        Layer(kind="GlobalMaxPooling1D", config={"name": "odd", "data_format": "channels_first"}),
    ],
    ids=lambda layer: layer.kind,
)
def test_what_lies_around_is_named_with_the_offer_to_leave_it_out(tmp_path, layer):
    """A layer that nothing here computes is named, before or behind the recurrent ones."""
    for layers in ([lstm(return_sequences=True), layer], [layer, lstm()]):
        line = refused(tmp_path, layers)
        assert f"cannot serve odd ({layer.kind})" in line
        assert "--as encoder" in line


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"module": "mine.layers", "registered_name": None}, "mine.layers.LSTM"),
        ({"module": None, "registered_name": "Custom>LSTM"}, "Custom>LSTM"),
    ],
    ids=["module", "registered"],
)
def test_a_class_of_the_same_name_from_elsewhere(tmp_path, where, told):
    """Somebody's own LSTM is not Keras's, alone and within a Bidirectional."""
    architecture = sequential([lstm("a", return_sequences=True), lstm("odd", 3)])
    architecture["config"]["layers"][1] |= where
    layers = [lstm("a", return_sequences=True), lstm("odd", 3)]
    assert f"cannot serve odd ({told})" in refused(tmp_path, layers, architecture=architecture)
    layers = [bidirectional("b", lstm(), both())]
    architecture = sequential(layers)
    architecture["config"]["layers"][0]["config"]["layer"] |= where
    assert "has no LSTM, GRU or SimpleRNN layer" in refused(tmp_path, layers, architecture=architecture)


def test_the_same_classes_by_keras_own_names(tmp_path):
    """Where they come from is told in several ways, which all mean Keras's."""
    for module, registered in (
        ("keras.layers", None),
        ("keras.src.layers.rnn.lstm", "LSTM"),
        ("tf_keras", None),
    ):
        architecture = sequential([lstm(return_sequences=True)])
        architecture["config"]["layers"][0] |= {"module": module, "registered_name": registered}
        path = write_keras(tmp_path / "m.keras", [lstm(return_sequences=True)], architecture=architecture)
        assert converted(path, tmp_path / "models", "--force").parameter_count == 4 * 3 * (2 + 3 + 2)


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([lstm("a"), lstm("b", 3)], "layer b (LSTM) reads steps, and a hands on the last one alone"),
        (
            [lstm("a", return_sequences=True), Layer(kind="Conv1D", config={"name": "c"}), lstm("b", 3)],
            "layer c (Conv1D) lies between recurrent layers",
        ),
        ([Layer(kind="Dense", config={"name": "d"})], "the model has no LSTM, GRU or SimpleRNN layer"),
        (
            [lstm("a", return_sequences=True, stateful=True), lstm("b", 3)],
            "some recurrent layers are stateful and some are not",
        ),
        (
            [
                lstm(stateful=True, return_sequences=True),
                Layer(kind="GlobalMaxPooling1D", config={"name": "p"}),
            ],
            "the model is stateful and pools its steps",
        ),
        ([bidirectional("b", lstm("i", go_backwards=True), [])], "wrap a layer with go_backwards=False"),
    ],
)
def test_chains_that_do_not_fit(tmp_path, layers, told):
    """Layers that can't stand behind each other as they do are named."""
    assert told in refused(tmp_path, layers)


def both(inputs=2):
    """The weights of two directions."""
    return [*lstm(inputs=inputs).arrays, *lstm(inputs=inputs).arrays]


def test_directions_without_a_merge(tmp_path):
    """merge_mode None hands on two outputs."""
    line = refused(tmp_path, [bidirectional("b", lstm(), both(), None)])
    assert "merge_mode None hands on two outputs" in line


def test_a_stateful_bidirectional(tmp_path):
    """Its state would go on from both ends."""
    line = refused(tmp_path, [bidirectional("b", lstm(stateful=True), both())])
    assert "the model is stateful and reads in both directions" in line


def test_halves_that_would_change_places(tmp_path):
    """A concatenating Bidirectional above a layer with go_backwards."""
    layers = [
        lstm("a", return_sequences=True, go_backwards=True),
        bidirectional("b", lstm("i", 3), both(inputs=3)),
    ]
    assert "its halves would change places" in refused(tmp_path, layers)


def test_missing_weights(tmp_path):
    """A layer without its arrays, in both forms of files."""
    bare = Layer(kind="LSTM", config=lstm().config)
    assert "expected 3 arrays in layers/lstm/cell/vars, got 0" in refused(tmp_path, [bare])
    line = refusal(write_h5(tmp_path / "a.h5", [bare]), tmp_path / "models")
    assert "expected 3 arrays in model_weights/lstm, got 0" in line


def test_extra_weights(tmp_path):
    """An array more than the architecture has."""
    layer = lstm()
    more = Layer(kind="LSTM", config={**layer.config, "use_bias": False}, arrays=layer.arrays)
    assert "expected 2 arrays in layers/lstm/cell/vars, got 3" in refused(tmp_path, [more])


def test_weights_of_another_shape(tmp_path):
    """The array, and what was expected."""
    line = refused(tmp_path, [lstm(units=4)])
    assert (
        "layers/lstm/cell/vars/0: expected the shape (any, 16) that the architecture asks for, got (2, 12)"
        in line
    )


def test_weights_of_another_layer(tmp_path):
    """A `.keras` file that says whose arrays they are must not say it of another layer."""
    path = write_keras(tmp_path / "a.keras", [lstm("one")], architecture=sequential([lstm("other")]))
    assert "are the weights of layer one, not of other" in refusal(path, tmp_path / "models")


def test_integers_for_weights(tmp_path):
    """Quantized arrays are no weights."""
    layer = lstm()
    arrays = [array.astype(np.int8) for array in layer.arrays]
    line = refused(tmp_path, [Layer(kind="LSTM", config=layer.config, arrays=arrays)])
    assert "expected floating-point numbers, got int8" in line


def test_numbers_that_are_not_finite(tmp_path):
    """NaN and infinity are found when the folder is loaded, before it is put in its place."""
    layer = lstm()
    layer.arrays[0][0, 0] = np.nan
    assert "rnn.weight_ih_l0" in refused(tmp_path, [layer])


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        (
            {"class_name": "MyModel", "config": {}},
            "expected a Sequential or a functional model, got 'MyModel'",
        ),
        (
            {"class_name": ["Sequential"], "config": {"layers": []}},
            "expected a Sequential or a functional model",
        ),
        ({"class_name": "Sequential", "config": {"layers": 3}}, "has no list of layers"),
        ({"class_name": "Sequential", "config": {"layers": [3]}}, "layer 0: is no layer"),
        ({"class_name": "Sequential", "config": {"layers": [{"config": {}}]}}, "layer without class or name"),
        (
            {"class_name": "Functional", "config": {"layers": [], "output_layers": []}},
            "has no list of layers",
        ),
    ],
)
def test_architectures_of_something_else(tmp_path, architecture, told):
    """An architecture that is not one of layers in a chain is refused."""
    assert told in refused(tmp_path, [lstm()], architecture=architecture)


def test_functional_models_that_branch(tmp_path):
    """Layers that read several tensors, are used twice, or are given a state."""
    first = Layer(kind="InputLayer", config={"name": "input"})

    def line(change):
        told = functional([first, lstm()], keras=2)
        change(told["config"])
        return refused(tmp_path, [first, lstm()], architecture=told)

    def node(config):
        return config["layers"][1]["inbound_nodes"]

    def two_tensors(config):
        node(config)[0].append(["input", 0, 1, {}])

    def twice(config):
        node(config).append(node(config)[0])

    def given_a_state(config):
        node(config)[0][0][3]["initial_state"] = [["input", 0, 1]]

    def two_outputs(config):
        config["output_layers"].append(["input", 0, 0])

    def in_a_circle(config):
        node(config)[0][0][0] = "lstm"

    assert "layer lstm (LSTM) reads 2 tensors" in line(two_tensors)
    assert "layer lstm (LSTM) is used 2 times" in line(twice)
    assert "layer lstm (LSTM) is called with initial_state" in line(given_a_state)
    assert "the model has 2 outputs" in line(two_outputs)
    assert "the layers before lstm do not lead to an input" in line(in_a_circle)


def test_weights_without_an_architecture(tmp_path):
    """model.save_weights makes files that do not tell the layers."""
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/lstm/cell/vars/0"] = np.zeros((2, 12), np.float32)
    line = refusal(tmp_path / "a.weights.h5", tmp_path / "models")
    assert "holds weights without the architecture" in line
    assert 'model.save("model.keras")' in line


def test_options_of_other_sources(tmp_path):
    """What a Keras file tells itself can't be told otherwise."""
    path = write_keras(tmp_path / "a.keras", [lstm()])
    assert "--activation relu: a Keras model tells its layers itself" in refusal(
        path, tmp_path / "models", "--activation", "relu"
    )
