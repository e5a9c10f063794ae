"""What the tokens that a transducer writes say."""

import re
from collections.abc import Sequence

from tokenizers import Tokenizer

_CONTROL_FORM = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")


class OutputText:
    """The tokenizer of outputs. Safe to use from several threads.

    Raises `ValueError` when a special token is not in the vocabulary.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, start_token: str, end_token: str, unknown_token: str | None
    ) -> None:
        self._tokenizer = tokenizer
        self.start_id = _id_of(tokenizer, "start_token", start_token)
        self.end_id = _id_of(tokenizer, "end_token", end_token)
        never = {self.start_id} | _control_ids(tokenizer)
        if unknown_token is not None:
            never.add(_id_of(tokenizer, "unknown_token", unknown_token))
        own_unknown = getattr(tokenizer.model, "unk_token", None)
        if own_unknown is not None and tokenizer.token_to_id(own_unknown) is not None:
            never.add(_id_of(tokenizer, "unknown_token", own_unknown))
        self.suppressed_ids = tuple(sorted(never - {self.end_id}))
        """Tokens that are never written: those that stand for no text, but for the one that ends an output."""
        tokens = [str(tokenizer.id_to_token(number) or "") for number in range(tokenizer.get_vocab_size())]
        self.longest_bytes = max(len(token.encode()) for token in tokens)
        """The most that one token adds to a text."""
        self._tokens = tokens if tokenizer.decoder is None and any(map(str.isspace, tokens)) else None

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, as the tokenizer's decoder joins them.

        Without a decoder blanks stand between them, or nothing where blanks are tokens of their own.
        """
        if self._tokens is not None:
            return "".join(self._tokens[token_id] for token_id in token_ids)
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=True))


def _id_of(tokenizer: Tokenizer, role: str, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"{role}: expected a token of the output vocabulary, got {token!r}")
    return int(number)


def _control_ids(tokenizer: Tokenizer) -> set[int]:
    """What stands for no text at all."""
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return special | {number for token, number in vocabulary.items() if _CONTROL_FORM.fullmatch(token)}
