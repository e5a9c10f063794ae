"""A tick's arithmetic: the same bits however it is run, and however many threads share it."""

import numpy as np
import pytest
import torch
from gatehouse_server.engine.online_backend import HeadRequest, OnlineBatch
from gatehouse_server.engine.programs import PlainPrograms, TickArithmetic
from gatehouse_server.engine.recorded_programs import TILE_ROWS, RecordedPrograms
from gatehouse_server.engine.torch_online import TorchOnlineBackend
from gatehouse_server.network.arithmetic import Arithmetic
from gatehouse_server.network.network import Network
from gatehouse_server.network.recording import NotRecordableError, record
from gatehouse_server.network.spec import (
    FeatureInputSpec,
    HeadSpec,
    NetworkSpec,
    RecurrentSpec,
    TokenInputSpec,
    parameter_shapes,
)

V, F, H = 2000, 12, 48
NONE = np.empty(0, dtype=np.int64)
CELLS = {
    "lstm": {"cell": "lstm"},
    "stacked": {"cell": "lstm", "layers": 2},
    "projected": {"cell": "lstm", "projection_size": 20},
    "gru": {"cell": "gru", "layers": 2},
    "rnn": {"cell": "rnn_tanh"},
    "relu": {"cell": "rnn_relu"},
}


def network(kind="lstm", *, tokens=True, precision="float32", fold=True, head="softmax", outputs=V):
    """A network with random weights."""
    size = 16 if tokens else F
    spec = NetworkSpec(
        input=TokenInputSpec(vocabulary_size=V, embedding_size=16) if tokens else FeatureInputSpec(size=F),
        recurrent=RecurrentSpec.uniform(input_size=size, hidden_size=H, **CELLS[kind]),
        head=HeadSpec(kind=head, size=outputs),
    )
    generator = torch.Generator().manual_seed(7)
    weights = {
        name: 0.3 * torch.randn(shape, generator=generator) for name, shape in parameter_shapes(spec).items()
    }
    return Network.build(
        spec,
        weights,
        arithmetic=Arithmetic(precision=precision),
        **({} if fold else {"fold_limit_bytes": 0}),
    )


def plain(arithmetic):
    """The computations as they are written."""
    return PlainPrograms(arithmetic, tile_rows=TILE_ROWS)


def tick(sessions, generator, *, tokens=True, ks=None, lengths=None, suppressed=None, candidates=True):
    """A batch of sessions, read at their ends, with source and target rows of their own."""
    lengths = sorted([1] * sessions if lengths is None else lengths, reverse=True)
    sizes = tuple(sum(length > step for length in lengths) for step in range(lengths[0]))
    steps = sum(lengths)
    inputs = generator.integers(0, V, steps) if tokens else generator.random((steps, F), dtype=np.float32)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    ends = np.array([starts[length - 1] + place for place, length in enumerate(lengths)], dtype=np.int64)
    return OnlineBatch(
        inputs=inputs,
        batch_sizes=sizes,
        source_rows=generator.integers(0, sessions, sessions),
        target_rows=sessions + 1 + generator.permutation(sessions).astype(np.int64),
        peeked_rows=NONE,
        head=HeadRequest(
            rows=ends + sessions,
            ks=np.full(sessions, 5, dtype=np.int64) if ks is None else np.asarray(ks, dtype=np.int64),
            suppressed=suppressed,
            score_rows=np.arange(0, sessions, 3, dtype=np.int64),
            score_tokens=np.arange(0, sessions, 3, dtype=np.int64) * candidates,
            vector_rows=np.arange(1, sessions, 40, dtype=np.int64),
            restricted=[(0, np.array([3, 4, 90]), 2)] if candidates else [],
        ),
    )


def played(backend, ticks):
    """The bytes of everything that the backend answers, and of the states it leaves."""
    out = []
    for batch in ticks:
        answer = backend.run(batch)
        head, ks = answer.head, batch.head.ks
        out += [answer.finite.tobytes(), head.scores.tobytes(), head.vectors.tobytes()]
        out += [(ids.tobytes(), values.tobytes()) for ids, values in head.restricted]
        out += [
            (ids[:k].tobytes(), v[:k].tobytes())
            for ids, v, k in zip(head.best_ids, head.best_values, ks, strict=True)
        ]
        out.append(backend.read_states(batch.target_rows).tobytes())
    return out


@pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "features"])
@pytest.mark.parametrize("kind", CELLS)
def test_a_recording_gives_the_bits_of_what_it_recorded(kind, tokens):
    """For every cell, of tokens and of vectors, from one session to several tiles: states and answers are the same."""
    net = network(kind, tokens=tokens)
    generator = np.random.default_rng(1)
    ticks = [tick(count, generator, tokens=tokens) for count in (1, 2, 40, TILE_ROWS + 3)]
    recorded = TorchOnlineBackend(net, capacity=600, programs_of=RecordedPrograms)
    assert played(recorded, ticks) == played(TorchOnlineBackend(net, capacity=600, programs_of=plain), ticks)


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"fold": False}, {"head": "sigmoid"}], ids=str)
def test_every_kind_of_arithmetic_can_be_recorded(options):
    """Weights in int8, an input that is not folded, labels that are independent."""
    net = network(**options)
    generator = np.random.default_rng(2)
    ticks = [tick(count, generator) for count in (1, 50)]
    recorded = TorchOnlineBackend(net, capacity=600, programs_of=RecordedPrograms)
    assert played(recorded, ticks) == played(TorchOnlineBackend(net, capacity=600, programs_of=plain), ticks)


def test_answers_do_not_depend_on_how_many_threads_share_a_tick():
    """One, two or three threads: the same bits, whatever the sessions ask."""
    net = network("stacked")
    generator = np.random.default_rng(3)
    flags = generator.random(300) < 0.5
    ticks = [
        tick(300, generator, suppressed=flags),
        tick(300, generator, ks=generator.choice([0, 1, 5, 9, 40], 300)),
        tick(40, generator, lengths=[1, 2, 5, 9] * 10),
        tick(3, generator),
    ]
    answers = [
        played(TorchOnlineBackend(net, capacity=900, threads=threads, suppressed=[1, 5, 700]), ticks)
        for threads in (1, 2, 3)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_chunk_leaves_what_single_steps_leave():
    """Several steps in a tick give the state and the answers that as many ticks of one step give, to the bit."""
    net = network("projected")
    tokens = np.random.default_rng(4).integers(0, V, 9)

    def batch(inputs, source, target):
        return OnlineBatch(
            inputs=inputs,
            batch_sizes=(1,) * len(inputs),
            source_rows=np.array([source]),
            target_rows=np.array([target]),
            peeked_rows=NONE,
            head=HeadRequest(
                rows=np.array([len(inputs)]),
                ks=np.array([5]),
                suppressed=None,
                score_rows=NONE,
                score_tokens=NONE,
                vector_rows=NONE,
                restricted=[],
            ),
        )

    backend = TorchOnlineBackend(net, capacity=20)
    whole = backend.run(batch(tokens, 0, 1)).head
    for number, token in enumerate(tokens):
        single = backend.run(batch(np.array([token]), number and number + 1, number + 2)).head
    assert whole.best_ids.tobytes() == single.best_ids.tobytes()
    assert whole.best_values.tobytes() == single.best_values.tobytes()
    assert backend.read_states(np.array([1])).tobytes() == backend.read_states(np.array([10])).tobytes()


def test_states_are_looked_at_as_they_were_left():
    """Sessions that only look, alone and beside others with one step or several, read what a step before them read."""
    net = network("gru")
    backend = TorchOnlineBackend(net, capacity=50)
    generator = np.random.default_rng(6)
    moved = backend.run(tick(5, generator)).head

    def looking(sizes, steps):
        stepping = sizes[0] if sizes else 0
        return OnlineBatch(
            inputs=generator.integers(0, V, steps),
            batch_sizes=sizes,
            source_rows=np.zeros(stepping, dtype=np.int64),
            target_rows=np.arange(20, 20 + stepping),
            peeked_rows=np.array([0, *looked_at]),
            head=HeadRequest(
                rows=np.arange(stepping + 1, stepping + 6),
                ks=np.full(5, 5),
                suppressed=None,
                score_rows=NONE,
                score_tokens=NONE,
                vector_rows=NONE,
                restricted=[],
            ),
        )

    looked_at = range(6, 11)
    expected = backend.run(looking((), 0)).head
    assert sorted(map(bytes, expected.best_ids)) == sorted(map(bytes, moved.best_ids))
    for sizes, steps in (((3,), 3), ((3, 1), 4)):
        answer = backend.run(looking(sizes, steps)).head
        assert answer.best_ids.tobytes() == expected.best_ids.tobytes()
        assert answer.best_values.tobytes() == expected.best_values.tobytes()


def test_a_recording_that_gives_other_bits_is_not_used(monkeypatch):
    """What was recorded wrongly is found at load, and the tick is computed as it is written."""
    import gatehouse_server.engine.recorded_programs as module

    def wrong(computation, example):
        call = record(computation, example)
        return lambda *inputs: (
            [part + 1 for part in answer] if isinstance(answer := call(*inputs), tuple) else answer
        )

    monkeypatch.setattr(module, "record", wrong)
    net = network()
    generator = np.random.default_rng(5)
    ticks = [tick(20, generator)]
    with pytest.raises(NotRecordableError, match="other bits"):
        RecordedPrograms(TickArithmetic(net, net.layout.zeros(200), []))
    fallen_back = TorchOnlineBackend(net, capacity=100)
    assert played(fallen_back, ticks) == played(
        TorchOnlineBackend(net, capacity=100, programs_of=plain), ticks
    )


def test_what_torch_cannot_record_is_said():
    """A computation with an operator that the recorder does not know ends as one error, whatever torch raised."""
    with pytest.raises(NotRecordableError):
        record(lambda x: x.view(torch.int32), [torch.zeros(3)])


@pytest.mark.parametrize("outputs", [1, 3, 40])
def test_few_outputs_are_ranked_as_many_are(outputs):
    """Labels rather than words, fewer than are ranked at once: the same bits, in the order of their values."""
    net = network(outputs=outputs)
    backend = TorchOnlineBackend(net, capacity=300)
    generator = np.random.default_rng(8)
    ks = np.full(60, min(5, outputs))
    batch = tick(60, generator, ks=ks, candidates=False)
    head = backend.run(batch).head
    fresh = TorchOnlineBackend(net, capacity=300, programs_of=plain)
    assert fresh.run(batch).head.best_values.tobytes() == head.best_values.tobytes()
    assert (np.diff(head.best_values, axis=1) <= 0).all()
