"""The tokenizer of the topics model: lower-case words, one `0` for every number, LaTeX commands whole.

Everything a text goes through lies in the tokenizer file itself, so that the server needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.trainers import WordLevelTrainer

UNKNOWN = "<unk>"
UNKNOWN_ID = 0

Ids = npt.NDArray[np.int32]


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> Tokenizer:
    """Keep the most frequent words of `texts`; ties are broken by the alphabet, so the result is fixed."""
    tokenizer = Tokenizer(WordLevel({UNKNOWN: UNKNOWN_ID}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\\[\"'`^~]"), ""),  # LaTeX accents: Schr\"odinger
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[0-9]+"), "0"),
        ]
    )
    # Punctuation says little about a topic and costs a step each; `$` stays, as the mark of a formula.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\?[a-z]+|0|\$"), behavior="removed", invert=True)
    trainer = WordLevelTrainer(vocab_size=vocabulary_size, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """One array of word ids for each text."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
