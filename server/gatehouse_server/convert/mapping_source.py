"""Any arrays with names, by a mapping file that says which parameter each is, and how."""

import math
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from gatehouse_server.convert.archives import LARGEST_BYTES
from gatehouse_server.convert.arrays import is_array_file, read_arrays
from gatehouse_server.convert.gates import gates_of
from gatehouse_server.convert.mapped_sections import spec_of
from gatehouse_server.convert.mapping_schema import ParameterMap, parse_mapping
from gatehouse_server.convert.port import ConversionError, ConvertedModel, SourceOptions
from gatehouse_server.convert.recipes import Wanted, follow
from gatehouse_server.convert.tensors import listed, notes_on_types
from gatehouse_server.convert.torch_file import is_torch_file, read_torch_file
from gatehouse_server.convert.word_list import read_text
from gatehouse_server.network.spec import NetworkSpec, parameter_shapes, recurrent_name

_FLOAT_BYTES = 4


class MappingSource:
    """`.npz`, `.npy`, folders of `.npy`, and the tensors of torch files."""

    name = "mapping"

    def detect(self, path: Path) -> bool:
        """Whether these are bare arrays. Of torch files torch's own source is the first choice."""
        return is_array_file(path)

    def read(self, path: Path, options: SourceOptions) -> ConvertedModel:
        """See `Source`."""
        if options.mapping is None:
            raise ConversionError(
                f"{path}: bare arrays do not tell what network they are of",
                "say it with --mapping FILE, see docs/converting.md",
            )
        _refuse_others(options)
        plan = parse_mapping(read_text(options.mapping, "--mapping"), str(options.mapping))
        spec = spec_of(plan.config)
        arrays = _read(path)
        wanted = _wanted(spec)
        _check_names(plan, wanted, options.mapping)
        parameters = {name: follow(plan.parameters[name], each, arrays) for name, each in wanted.items()}
        used = {source: arrays[source] for recipe in plan.parameters.values() for source in recipe.sources}
        _check_unused(plan, used, arrays)
        return ConvertedModel(
            config=plan.config,
            parameters=parameters,
            notes=(
                f"{len(wanted)} parameters made of {len(used)} arrays by {options.mapping}",
                *notes_on_types(used),
            ),
        )


def _refuse_others(options: SourceOptions) -> None:
    given = {
        "--as encoder": options.as_encoder,
        "--recurrent": options.recurrent,
        "--embedding": options.embedding,
        "--head": options.head,
        "--activation": options.activation,
        "--pooling": options.pooling is not None,
    }
    named = [option for option, value in given.items() if value]
    if named:
        raise ConversionError(f"{', '.join(named)}: the mapping file says all that", "leave them out")


def _read(path: Path) -> Mapping[str, Tensor]:
    if is_array_file(path):
        return read_arrays(path)
    if is_torch_file(path):
        return dict(_flat(read_torch_file(path), ""))
    raise ConversionError(
        f"{path}: holds no arrays that can be read", "name an .npz, .npy, .pt or .safetensors file"
    )


def _flat(held: Any, prefix: str, depth: int = 3) -> list[tuple[str, Tensor]]:
    """The tensors of nested dictionaries, by the names on the way to them."""
    found: list[tuple[str, Tensor]] = []
    if isinstance(held, Mapping):
        for name, value in held.items():
            if isinstance(value, Tensor):
                found.append((f"{prefix}{name}", value))
            elif depth:
                found += _flat(value, f"{prefix}{name}.", depth - 1)
    return found


def _wanted(spec: NetworkSpec) -> dict[str, Wanted]:
    shapes = parameter_shapes(spec)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    if numbers * _FLOAT_BYTES > LARGEST_BYTES:
        raise ConversionError(f"--mapping: config asks for {numbers:,} numbers", "correct its sizes")
    wanted = {name: Wanted(name=name, shape=tuple(shape)) for name, shape in shapes.items()}
    for number, layer in enumerate(spec.recurrent.layers):
        for direction in layer.directions:
            coupled = layer.options_of(direction).coupled
            own = layer.parameter_shapes(direction)
            joint = (
                own["weight_ih"][1] + own["weight_hh"][1]
                if {"weight_ih", "weight_hh"} <= own.keys()
                else None
            )
            for name, shape in own.items():
                gated = not name.startswith(("weight_hr", "initial"))
                gates = gates_of(layer.cell, coupled=coupled, peepholes=name == "peephole") if gated else ""
                full = recurrent_name(name, number, direction)
                wanted[full] = Wanted(
                    name=full,
                    shape=tuple(shape),
                    cell=layer.cell,
                    gates=gates,
                    joint_columns=joint if name in ("weight_ih", "weight_hh") else None,
                )
    return wanted


def _check_names(plan: ParameterMap, wanted: Mapping[str, Wanted], path: Path) -> None:
    missing = [name for name in wanted if name not in plan.parameters]
    if missing:
        raise ConversionError(
            f"--mapping {path}: lacks recipes for {listed(missing)}",
            "say where each comes from, or its value",
        )
    surplus = sorted(plan.parameters.keys() - wanted.keys())
    if surplus:
        raise ConversionError(
            f"--mapping {path}: has recipes for {listed(surplus)}, which the network of its config has no place for",
            "correct config or take them out",
        )


def _check_unused(plan: ParameterMap, used: Collection[str], arrays: Mapping[str, Tensor]) -> None:
    unused = [
        name
        for name in arrays
        if name not in used and not any(fnmatchcase(name, pattern) for pattern in plan.ignore)
    ]
    if unused:
        raise ConversionError(
            f"the source also holds {listed(unused)}, which the mapping does not use",
            'if they are not needed, name them in "ignore", where * stands for anything',
        )
