"""Vocabulary, labels and the like: what makes a folder of a converted model complete."""

import json

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

from tests.convert.converting import convert, converted, refusal
from tests.convert.torch_models import VOCABULARY, Classifier, LanguageModel, seeded
from tests.tiny import word_tokenizer

WORDS = ["<unk>", "</s>", ".", "the", "don't", "The", "caf\u00e9", *(f"w{n}" for n in range(VOCABULARY - 7))]


@pytest.fixture
def language_model(tmp_path):
    torch.save(seeded(LanguageModel()).state_dict(), tmp_path / "lm.pt")
    return tmp_path / "lm.pt"


@pytest.fixture
def vocabulary(tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return str(tmp_path / "words.txt")


def test_a_token_a_line(tmp_path, language_model, vocabulary):
    """Tokens have the ids of their lines; marks are tokens of their own; other words become the unknown token."""
    model = converted(language_model, tmp_path / "models", "--vocab", vocabulary)
    assert model.text.encode("The caf\u00e9, don\u2019t w3.") == [5, 6, 0, 4, 10, 2]
    assert model.text.unknown_id == 0
    assert model.start_id is None


def test_everything_that_text_needs(tmp_path, language_model, vocabulary):
    """Start and end, lower case, and what the end of a sentence does come through to the folder."""
    model = converted(
        language_model,
        tmp_path / "models",
        *["--vocab", vocabulary, "--start-token", "</s>", "--end-token", "</s>", "--lowercase"],
        *["--keep-context", "--description", "Says little.", "--name", "little", "--version", "2.1"],
    )
    assert model.text.encode("THE") == [3]
    assert (model.start_id, model.text.end_id) == (1, 1)
    assert model.config.sentence_end == "keep_context"
    assert (model.key, model.config.description) == ("little@2.1", "Says little.")
    assert "# little" in model.card
    assert "SHA-256" in model.card


def test_tokens_that_text_never_gives_are_told(tmp_path, language_model, vocabulary):
    """A note counts the tokens that the way of splitting never gives, since that hints at another way."""
    output = convert(language_model, tmp_path / "models", "--vocab", vocabulary, "--lowercase")
    assert "2 of 23 tokens never come from text ('</s>', 'The')" in output
    output = convert(
        language_model,
        tmp_path / "again",
        "--vocab",
        vocabulary,
        "--end-token",
        "</s>",
        "--split",
        "whitespace",
    )
    assert "never come from text" not in output


def test_characters(tmp_path, language_model):
    """`--split characters` makes a token of each character, line ends included; JSON holds any token."""
    characters = ["?", "\n", " ", *"abcdefghijklmnopqrst"]
    (tmp_path / "chars.json").write_text(json.dumps({token: at for at, token in enumerate(characters)}))
    options = ["--vocab", str(tmp_path / "chars.json"), "--unknown-token", "?", "--split", "characters"]
    model = converted(language_model, tmp_path / "models", *options)
    assert model.text.encode("ab c\nz") == [3, 4, 2, 5, 1, 0]


def test_a_tokenizer_of_ones_own(tmp_path, language_model):
    """A tokenizer.json is taken as it is."""
    word_tokenizer(WORDS).save(str(tmp_path / "tokenizer.json"))
    model = converted(language_model, tmp_path / "models", "--vocab", str(tmp_path / "tokenizer.json"))
    own = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert model.text.encode("the w3 and") == own.encode("the w3 and").ids


def test_labels_of_a_file(tmp_path, vocabulary):
    """Labels may be lines of a file, and may then have commas."""
    torch.save(seeded(Classifier()).state_dict(), tmp_path / "m.pt")
    (tmp_path / "labels.txt").write_text("yes\nno, never\nmaybe\n")
    options = ["--vocab", vocabulary, "--pooling", "last", "--labels", str(tmp_path / "labels.txt")]
    assert converted(tmp_path / "m.pt", tmp_path / "models", *options).labels == ("yes", "no, never", "maybe")
    numbered = converted(tmp_path / "m.pt", tmp_path / "again", *options[:-1], "numbers")
    assert numbered.labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        (None, [], "cannot be read (No such file or directory)"),
        (b"a\nb\n", [], "expected 23 tokens, as the embedding has rows, got 2"),
        (b"<unk>\na\n\nb\n", [], "line 3 is empty"),
        (b"<unk>\na\nb\na\n", [], "line 4 is 'a' again, as line 2"),
        (b"", [], "is empty"),
        (b"\xff\xfe\x00", [], "is not UTF-8"),
        ("\n".join([*WORDS[1:], "x"]).encode(), [], "needs a token for unknown words"),
        ("\n".join(WORDS).encode(), ["--unknown-token", "?"], "'?' is not in the vocabulary"),
        (
            "\n".join(WORDS).encode(),
            ["--start-token", "<s>"],
            "start_token: expected a token of the vocabulary",
        ),
    ],
)
def test_vocabularies_that_do_not_fit(tmp_path, language_model, content, options, problem):
    """A vocabulary that is damaged, of another size, or lacks a token that is named, is told by line."""
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    given = ["--vocab", str(tmp_path / "words.txt"), *options]
    assert problem in refusal(language_model, tmp_path / "models", *given)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a": 1, "b": 2}', "expected ids from 0 to 1, each once"),
        ('{"a": "b"}', "expected an object of ids or an array of words"),
        ("{", "is not valid JSON"),
        ('{"model": {}}', "tokenizer.json: cannot be read"),
    ],
)
def test_vocabularies_in_json(tmp_path, language_model, content, problem):
    """So is one in JSON."""
    (tmp_path / "words.json").write_text(content)
    line = refusal(language_model, tmp_path / "models", "--vocab", str(tmp_path / "words.json"))
    assert problem in line


def test_start_tokens_are_for_language_models(tmp_path, vocabulary):
    """A classifier has no start token."""
    torch.save(seeded(Classifier()).state_dict(), tmp_path / "m.pt")
    options = ["--vocab", vocabulary, "--pooling", "last", "--labels", "a,b,c", "--start-token", "</s>"]
    assert "for language models only" in refusal(tmp_path / "m.pt", tmp_path / "models", *options)


def test_names_are_made_of_the_sources(tmp_path):
    """Without a name the source's gives one that a folder may have."""
    torch.save(nn.GRU(2, 3).state_dict(), tmp_path / "My Model_v2 (final).ckpt.pt")
    convert(tmp_path / "My Model_v2 (final).ckpt.pt", tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["my-model_v2-final"]
