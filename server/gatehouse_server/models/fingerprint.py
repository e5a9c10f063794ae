"""The identity of a model's content: equal fingerprints mean equal answers from equal builds."""

import hashlib
from collections.abc import Mapping

FINGERPRINTED = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "display.json",
    "blocked.txt",
    "output_tokenizer.json",
)
"""The files that change what a model answers. The card and the loss curve do not."""


def fingerprint(contents: Mapping[str, bytes]) -> str:
    """SHA-256 (hexadecimal) over the contents by file name; files outside `FINGERPRINTED` are ignored.

    Each file enters as name, length, content, so that no content can be read as another split of the same
    bytes. An optional file that is absent differs from one that is empty.
    """
    digest = hashlib.sha256()
    for name in FINGERPRINTED:
        content = contents.get(name)
        if content is not None:
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()
