import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import Tokenizer
from nlp.generation.prompts import Row
from nlp.generation.text import TextStream
from nlp.tokenizer import END_OF_TEXT

pytestmark = pytest.mark.slow

TOKENIZER = Tokenizer.from_files(
    {**{c: i for i, c in enumerate("abcÃ©")}, END_OF_TEXT: 5}, []
)


def stream(text, stops):
    out = TextStream(TOKENIZER, stops)
    pieces = []
    for token in TOKENIZER.encode(text):
        pieces.append(out.push(token))
        if out.stopped:
            break
    pieces.append(out.end())
    return pieces, out.stopped


def test_holds_back_what_may_become_a_stop():
    assert stream("aabac", ["abc"]) == (
        ["", "a", "", "ab", "ac", ""],
        False,
    )
    assert stream("aabcb", ["abc"]) == (["", "a", "", "", ""], True)


def test_never_splits_a_character():
    assert stream("éa", []) == (["", "é", "a", ""], False)


@settings(max_examples=300, deadline=None)
@given(
    st.text("abcé", max_size=20),
    st.lists(st.text("abcé", min_size=1, max_size=4), max_size=3),
)
def test_gives_the_text_up_to_the_first_stop(text, stops):
    pieces, stopped = stream(text, stops)
    # The first stop that is complete, not the one that begins first.
    ends = [text.find(s) + len(s) for s in stops if s in text]
    if not ends:
        assert ("".join(pieces), stopped) == (text, False)
        return
    seen = text[: min(ends)]
    begin = min(seen.find(stop) for stop in stops if stop in seen)
    assert ("".join(pieces), stopped) == (seen[:begin], True)


def test_the_end_token_ends_a_row_and_is_no_part_of_its_text():
    row = Row(TextStream(TOKENIZER, ["bb"]), [TOKENIZER.end_id])
    pieces = [row.push(token) for token in (0, 1, TOKENIZER.end_id)]
    assert pieces == ["a", "", ""]
    assert row.finished
    assert row.end() == "b"
    assert row.text == "ab"
    assert row.ids == [0, 1, TOKENIZER.end_id]
