"""What a conversion tells at its end."""

from pathlib import Path

from gatehouse_server.convert.conversion import Conversion


def report(conversion: Conversion, destination: Path) -> str:
    """Lines: what was made, how it was found, how near it is to its source, and how to serve it."""
    model = conversion.model
    recurrent = model.config.recurrent
    layers = recurrent.spec().layers
    sizes = ", ".join(
        f"{layer.cell} {layer.input_size} -> {layer.output_size}{_direction(layer.direction)}"
        for layer in layers
    )
    lines = [
        f"{model.key}: {model.config.task.replace('_', ' ')}, {model.parameter_count:,} parameters",
        f"  layers       {sizes}",
    ]
    if model.config.head is not None:
        lines.append(f"  head         {model.config.head.kind}, {model.config.head.size:,} outputs")
    lines += [f"  note         {note}" for note in conversion.notes]
    lines += [f"  left out     {part}" for part in conversion.left_out]
    for each in conversion.differences:
        lines.append(
            f"  difference   {each.largest:.3g} at most, of {each.values:,} {each.form.replace('_', ' ')}, "
            f"from {each.against}"
        )
    if not conversion.differences:
        lines.append("  difference   not compared: give vectors with --check-inputs and --check-outputs")
    lines += [
        f"  fingerprint  {model.fingerprint}",
        f"  folder       {conversion.folder}",
        f"Serve it with: gatehouse serve --models {destination}",
    ]
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    # As `one_line`, with the columns kept.
    return "".join(character for character in line if character.isprintable())


def _direction(direction: str) -> str:
    return {"forward": "", "reverse": " in reverse", "both": " in both directions"}[direction]
