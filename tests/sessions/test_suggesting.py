"""Suggestions: the tape follows the text, as little as possible is computed, and the words suit what was typed."""

import numpy as np
import pytest
from gatehouse_server.engine.observer import Happening
from gatehouse_server.errors import InvalidInput, ModelMismatch, ModelNotFound, Overloaded
from gatehouse_server.models.registry import Registry
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.operations import DeleteSession, Suggest

from tests.sessions.desk import Desk
from tests.sessions.plain_networks import PlainNetwork
from tests.tiny import write_tiny_keyboard


def words(result):
    """The suggested words."""
    return [suggestion.text for suggestion in result.suggestions]


def fresh(desk, text, **fields):
    """What a session that never saw anything else answers for a text."""
    result = desk.suggest(None, text, **fields)
    desk.one(DeleteSession(session_id=result.session_id))
    return result


def test_suggestions_are_the_likeliest_words_that_may_be_suggested(desk, models):
    """Without an unfinished word, the best words of the network's prediction, control tokens and marks left out."""
    oracle = PlainNetwork(models / "keyboard" / "1")
    result = desk.suggest("user", "can you ", k=8)
    tape = [oracle.vocabulary[word] for word in ("can", "you")]
    predicted = oracle.log_probabilities(tape)[-1]
    texts = {number: word for word, number in oracle.vocabulary.items()}
    expected = [
        texts[number]
        for number in predicted.argsort(descending=True, stable=True).tolist()
        if texts[number][0].isalnum() and texts[number] != "damn"
    ]
    assert [word.lower() for word in words(result)] == expected[:8]
    first = oracle.vocabulary[expected[0]]
    assert result.suggestions[0].log_probability == pytest.approx(float(predicted[first]), abs=1e-5)


def test_an_unfinished_word_restricts_the_suggestions_and_leaves_the_tape_alone(desk):
    """Suggestions complete the word being typed; the tape holds the finished words only."""
    result = desk.suggest("user", "How are you do")
    assert result.prefix == "do"
    assert set(words(result)) <= {"do", "doing", "done", "does", "dog", "don't"}
    assert result.state.position == 3
    again = desk.suggest("user", "How are you d")
    assert again.state.revision == result.state.revision
    assert again.computed_steps == 0


def test_typing_on_computes_only_the_new_word(desk):
    """Each key press computes what it added to the finished words, and nothing else."""
    computed = [
        desk.suggest("user", text).computed_steps
        for text in ("I", "I ", "I w", "I want ", "I want to", "I want to ", "I want to go ")
    ]
    assert computed == [0, 1, 0, 1, 0, 1, 1]


def test_repeating_a_suggestion_changes_nothing(desk):
    """The call is idempotent: the same text gives the same answer and leaves the revision."""
    first = desk.suggest("user", "I want to ")
    second = desk.suggest("user", "I want to ")
    assert first.suggestions == second.suggestions
    assert first.state.revision == second.state.revision


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I want to go home ", "I want to go "),
        ("I want to go home ", "I want to be home "),
        ("I want to go home ", ""),
        ("I want to go home ", "he is in the home and "),
        ("I want to go home. ", "I want to go home, "),
        ("I want ", "I want to go home and do this "),
        ("How are you? ", "How are you? I am "),
        ("How are you", "How are you."),
        ("I want 3", "I want 3.5"),
        ("we don", "we don't "),
    ],
    ids=lambda text: text or "empty",
)
def test_any_edit_answers_as_if_the_text_had_been_there_from_the_start(desk, before, after):
    """Backspace, replacing, clearing, pasting: the answer is that of the new text alone."""
    desk.suggest("user", before)
    edited = desk.suggest("user", after, k=5)
    alone = fresh(desk, after, k=5)
    assert words(edited) == words(alone)
    np.testing.assert_array_equal(
        [suggestion.log_probability for suggestion in edited.suggestions],
        [suggestion.log_probability for suggestion in alone.suggestions],
    )
    assert edited.state.position == alone.state.position


def test_backspacing_over_a_word_computes_no_step(desk):
    """The state before the last words is kept, so taking a word back is free."""
    for text in ("I ", "I want ", "I want to ", "I want to go "):
        desk.suggest("user", text)
    result = desk.suggest("user", "I want to ")
    assert (result.computed_steps, result.state.position) == (0, 3)
    assert desk.counts.happenings[Happening.REWOUND] == 1


def test_a_window_that_slides_along_the_text_continues_the_tape(desk):
    """A window that begins later than the text did is recognised by its overlap with the tape."""
    text = "I want to go home and do this in boston with you and she so that we are there "
    desk.suggest("user", text)
    position = desk.get("user").state.position
    slid = desk.suggest("user", text[20:] + "like ")
    assert (slid.state.position, slid.computed_steps) == (position + 1, 1)
    whole = fresh(desk, text + "like ")
    assert words(slid) == words(whole)


def test_a_window_that_begins_in_the_middle_of_a_word_is_recognised(desk):
    """The cut word at a window's start does not hide the overlap."""
    text = "I want to go home and do this in boston "
    desk.suggest("user", text)
    slid = desk.suggest("user", text[3:] + "and ")
    assert slid.computed_steps == 1


def test_a_sentence_end_starts_over_where_the_model_says_so(desk):
    """With start_over the tape holds the present sentence only, so long texts cost nothing."""
    desk.suggest("user", "I want to go home. ")
    result = desk.suggest("user", "I want to go home. He is ")
    assert result.state.position == 2


def test_a_sentence_end_keeps_the_context_where_the_model_says_so(tmp_path):
    """With keep_context the tape goes on over sentence ends."""
    write_tiny_keyboard(tmp_path / "keyboard" / "1", sentence_end="keep_context")
    desk = Desk(Registry.load([tmp_path], embedded=None))
    assert desk.suggest("user", "I want to go home. He is ").state.position == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Do", {"Do", "Doing", "Done", "Does", "Dog", "Don't"}),
        ("you DO", {"DO", "DOING", "DONE", "DOES", "DOG"}),
    ],
)
def test_the_capitals_that_were_typed_are_followed(desk, text, expected):
    """Capitalised and upper-case beginnings give words of the same kind."""
    assert set(words(desk.suggest("user", text))) <= expected | {"DON'T"}


def test_words_at_the_start_of_a_sentence_are_capitalised(desk):
    """With nothing typed, a sentence begins with a capital letter."""
    assert all(word[0].isupper() or not word[0].isalpha() for word in words(desk.suggest("user", "", k=5)))


def test_excluded_blocked_and_unknown_words_are_never_suggested(desk):
    """However many are asked for, these words do not come."""
    everything = words(desk.suggest("user", "I am ", k=66))
    assert not {"damn", "<unk>", "</s>", ".", ","} & set(everything)
    kept = words(desk.suggest("user", "I am ", k=66, exclude=tuple(word.upper() for word in everything[:5])))
    assert kept == everything[5:]


def test_excluding_still_gives_as_many_words_as_asked_for(desk):
    """Excluded words make room for the next best."""
    best = words(desk.suggest("user", "I am ", k=6))
    assert words(desk.suggest("user", "I am ", k=3, exclude=tuple(best[:3]))) == best[3:]


def test_personal_words_complete_what_is_typed(desk):
    """Words that the model does not know are offered when they begin with the prefix, by the unknown word's chance."""
    result = desk.suggest("user", "this is gat", k=5, extra_words=("Gatehouse", "Portcullis"))
    assert words(result) == ["Gatehouse"]
    assert result.suggestions[0].log_probability < 0


def test_an_unknown_beginning_gives_no_suggestions(desk):
    """No word begins like that: the answer is empty, not an error."""
    assert desk.suggest("user", "this is xqzzy").suggestions == ()


def test_a_lost_session_is_made_anew_from_the_text(desk):
    """The call is an upsert, and says when it had to make the session."""
    assert desk.suggest("user", "I want ").rebuilt
    assert not desk.suggest("user", "I want to ").rebuilt
    desk.now += desk.limits.idle_seconds
    desk.tick()
    back = desk.suggest("user", "I want to go ")
    assert (back.rebuilt, back.state.position, back.computed_steps) == (True, 4, 4)


def test_without_a_session_id_the_server_makes_one(desk):
    """The answer names the session that was made."""
    first, second = desk.suggest(None, "I "), desk.suggest(None, "I ")
    assert first.session_id != second.session_id
    assert desk.get(first.session_id).state.position == 1


def test_a_text_longer_than_a_write_may_be_keeps_its_end(registry):
    """A pasted text that does not fit starts the tape with its last words."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_write_steps=8))
    result = desk.suggest("user", "I want to go home and do this in boston with you ")
    assert result.state.position == 8


@pytest.mark.parametrize("k", [0, -1, 67])
def test_k_has_to_be_in_the_vocabulary(desk, k):
    """As many words as there are, and at least one; no session is made for a bad request."""
    with pytest.raises(InvalidInput) as caught:
        desk.suggest("user", "I ", k=k)
    assert (caught.value.reason, caught.value.violations[0].field) == ("K_OUT_OF_RANGE", "k")


def test_only_language_models_suggest(desk):
    """Other models, and models that are not there, are refused by name."""
    for model, error in (("motion", InvalidInput), ("topics", InvalidInput), ("nothing", ModelNotFound)):
        with pytest.raises(error):
            desk.one(Suggest(session_id=None, model=model, text="I ", k=3))


def test_a_session_stays_on_its_model(desk):
    """Naming another model for a session that exists is refused; naming its own is fine."""
    desk.suggest("user", "I ")
    with pytest.raises(ModelMismatch):
        desk.one(Suggest(session_id="user", model="motion", text="I ", k=3))
    desk.one(Suggest(session_id="user", model="keyboard@1", text="I ", k=3))


def test_when_the_table_is_full_new_sessions_are_refused_and_live_ones_go_on(registry):
    """Sessions beyond the limit get when to try again; the others do not notice."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=2, idle_seconds=30.0))
    desk.suggest("one", "I ")
    desk.suggest("two", "I ")
    desk.now += 10.0
    with pytest.raises(Overloaded) as caught:
        desk.suggest("three", "I ")
    assert caught.value.retry_after_seconds == pytest.approx(20.0)
    desk.suggest("one", "I want ")
    desk.now += 20.0
    desk.tick()
    desk.suggest("three", "I ")


def test_a_text_longer_than_a_write_may_be_stays_idempotent_and_slides(registry):
    """Repeating a long text moves nothing, and typing on computes the new word only."""
    desk = Desk(registry, limits=SessionLimits(max_sessions=4, max_write_steps=8))
    text = "I want to go home and do this in boston with you "
    first = desk.suggest("user", text)
    again = desk.suggest("user", text)
    assert (again.state.revision, again.computed_steps) == (first.state.revision, 0)
    assert desk.suggest("user", text + "and ").computed_steps == 1


def test_a_suggestion_that_fails_has_not_moved_the_tape(desk, monkeypatch):
    """When the answer can't be computed, the tape stands where it stood, also if its new words were computed."""
    desk.suggest("user", "I want ")
    before = desk.get("user").state
    backend = desk.lane._hosts.get("keyboard").engine._backend
    run, calls = backend.run, []

    def fails_the_second_time(batch):
        calls.append(batch)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return run(batch)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "run", fails_the_second_time)
        with pytest.raises(RuntimeError):
            desk.suggest("user", "I want to go 3.")
    assert len(calls) == 2
    after = desk.get("user").state
    assert (after.revision, after.position) == (before.revision, before.position)
