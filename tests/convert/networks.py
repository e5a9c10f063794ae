"""The network that a source describes, built without a folder: quicker where many are looked at."""

import json
from typing import Any

import numpy as np
import torch
from gatehouse_server.convert.port import ConvertedModel
from gatehouse_server.models.recurrent_section import Recurrent
from gatehouse_server.network.network import Network
from gatehouse_server.network.spec import FeatureInputSpec, HeadSpec, NetworkSpec, TokenInputSpec


def network_of(found: ConvertedModel) -> Network:
    """Built from the sections and parameters alone."""
    config: dict[str, Any] = dict(found.config)
    told, head = dict(config["input"]), config.get("head")
    kind = told.pop("kind")
    spec = NetworkSpec(
        input=TokenInputSpec(**told) if kind == "tokens" else FeatureInputSpec(**told),
        recurrent=Recurrent.model_validate_json(json.dumps(config["recurrent"])).spec(),
        pooling=tuple(config.get("pooling", ())),
        head=None if head is None else HeadSpec(**{"kind": "linear", **head}),
    )
    return Network.build(spec, found.parameters)


def outputs_of(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What the recurrent layers hand on for one sequence: (T, R), or (R,) of a network that pools."""
    given, sizes = torch.from_numpy(inputs), [1] * len(inputs)
    if network.spec.pooling:
        return network.summarize(given, sizes)[0].numpy().copy()
    return network.encode(given, sizes).numpy().copy()


def logits_of(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What the head makes of that, before its activation: (T, O) or (1, O)."""
    assert network.head is not None
    hidden = torch.from_numpy(np.atleast_2d(outputs_of(network, inputs)))
    return network.head.logits(hidden)[:, : network.head.size].numpy()
