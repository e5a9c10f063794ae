"""What a model with a tokenizer makes of text, in both directions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tokenizers import Tokenizer

from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.capitalisation import capitalise
from gatehouse_server.models.running_text import RunningText, running_text
from gatehouse_server.models.sections import SentenceEnd
from gatehouse_server.models.typed import TypedText, split_typed
from gatehouse_server.models.vocabulary import Ids, Vocabulary
from gatehouse_server.models.window import Alignment, align_window
from gatehouse_server.panics import as_defect


class TextCodec:
    """A tokenizer with the words' display forms and what is never suggested. Safe to use from several
    threads.

    Raises `ValueError` when a special token is not in the vocabulary.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        unknown_token: str | None = None,
        start_token: str | None = None,
        end_token: str | None = None,
        display: Mapping[str, str] | None = None,
        blocked: Iterable[str] = (),
    ) -> None:
        # A tokenizer file may ask for truncation or padding, which would lose or invent steps without a word;
        # and a special token that a user types is text, not control.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        own_unknown = getattr(tokenizer.model, "unk_token", None)
        self.unknown_id = _special_id(tokenizer, "unknown_token", unknown_token)
        if self.unknown_id is None and own_unknown is not None:
            self.unknown_id = tokenizer.token_to_id(own_unknown)
        self.start_id = _special_id(tokenizer, "start_token", start_token)
        self.end_id = _special_id(tokenizer, "end_token", end_token)
        control_ids = {self.unknown_id, self.start_id, self.end_id} - {None}
        self.vocabulary = Vocabulary(
            tokenizer,
            display=display or {},
            blocked=blocked,
            control_ids=[number for number in control_ids if number is not None],
        )

    @property
    def suppressed_ids(self) -> frozenset[int]:
        """Never suggested: unknown, start and end token, other control tokens, and blocked words."""
        return self.vocabulary.suppressed_ids

    @property
    def punctuation_ids(self) -> frozenset[int]:
        """Tokens without any letter or digit, control tokens apart."""
        return self.vocabulary.punctuation_ids

    @property
    def undrawable_ids(self) -> frozenset[int]:
        """Never generated: unknown, start and end token, other special tokens, and blocked words."""
        return self.vocabulary.undrawable_ids

    def running_text(self, before_ids: Sequence[int], before: str | None = None) -> RunningText:
        """A text that goes on, token by token, behind these ids; `before` is how they were spelt, if that is known."""
        return running_text(
            self._tokenizer,
            self.vocabulary,
            unknown_id=self.unknown_id,
            before=before,
            before_ids=before_ids,
        )

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`, without special tokens. Raises `InvalidInput` for text that is not
        Unicode, or that the tokenizer fails at.
        """
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, several at once (on the tokenizer's own threads, unless it is told
        otherwise).

        Raises `InvalidInput` when any of them is not Unicode, or the tokenizer fails at it.
        """
        with _refusing():
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_spans(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """The token ids of each text, and where each token stands in it: its first character and the one after its
        last. Otherwise as `encode_many`.
        """
        with _refusing():
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def surface(self, token_id: int) -> str:
        """The display form of a token: "i" is shown as "I"."""
        return self.vocabulary.surfaces[token_id]

    def completions(self, prefix: str) -> Ids:
        """The ids, ascending, of the words that may be suggested and begin with `prefix`, compared without
        case.
        """
        with _refusing():
            return self.vocabulary.completions(prefix)

    def split_for_suggest(self, text: str, sentence_end: SentenceEnd) -> TypedText:
        """Take the text before a cursor apart. Raises `InvalidInput` as `encode` does."""
        with _refusing():
            return split_typed(self._tokenizer, self.vocabulary, text, sentence_end)

    def suggested(self, word: str, typed: TypedText) -> str:
        """`word`, a display form, in the capitals and with the apostrophe of the text that was typed."""
        shown = capitalise(word, typed.capitalisation)
        return shown.replace("'", "’") if typed.curly_apostrophe else shown

    def align(self, tape_ids: Sequence[int], typed: TypedText) -> Alignment:
        """How the tape becomes the one that `typed` asks for: `tape[:kept] +
        typed.stable_ids[appended_from:]`.
        """

        def continues(length: int) -> bool:
            return self._may_end_with(tape_ids, length, typed.cut_word)

        return align_window(
            tape_ids,
            typed.stable_ids,
            typed.cut_tokens > 0,
            window_is_whole=typed.is_whole,
            cut_tokens=typed.cut_tokens,
            continues=continues,
        )

    def _may_end_with(self, tape_ids: Sequence[int], length: int, cut_word: str) -> bool:
        """Whether the words of `tape_ids[:length]` may end with `cut_word`; a control token may stand for
        anything.
        """
        with _refusing():
            rest = self.vocabulary.fold(cut_word)
        for index in range(length - 1, -1, -1):
            if tape_ids[index] in self.vocabulary.control_ids:
                return True
            word = self.vocabulary.key(tape_ids[index])
            if word.endswith(rest):
                return True
            if not rest.endswith(word):
                return False
            rest = rest.removesuffix(word)
        return False


def _special_id(tokenizer: Tokenizer, role: str, token: str | None) -> int | None:
    if token is None:
        return None
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"{role}: expected a token of the vocabulary, got {token!r}")
    return int(number)


@contextmanager
def _refusing() -> Iterator[None]:
    """Around a tokenizer's work on somebody's text: what the library fails at is refused, and harms nobody else."""
    try:
        yield
    except BaseException as failure:
        error = as_defect(failure)
        # What the library raises; anything finer is a defect of ours. Only a panic is another error than the failure.
        if error is failure and type(error) not in (Exception, UnicodeEncodeError, TypeError):
            raise
        raise InvalidInput.of_field(
            "text",
            f"expected Unicode text that the model's tokenizer takes, got what cannot be encoded ({error})",
            reason="TEXT_NOT_ENCODABLE",
        ) from error
