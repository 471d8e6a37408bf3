"""What of a conversation counts in the loss: every assistant turn and its end, and no token of anybody else."""

from __future__ import annotations

from lit_curriculum.data.encode import EncodeOptions, Encoder
from lit_curriculum.data.template import resolve_template
from lit_curriculum.types import Message
from tests.data.toy_tokenizers import byte_level

DOIT = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'].strip() + '<eot>' }}{% endfor %}"
TURNS = (
    Message(role="user", content="第一个问题"),
    Message(role="assistant", content="答 one "),
    Message(role="user", content="and the second?"),
    Message(role="assistant", content="答案是B"),
)


def test_only_assistant_contents_and_their_ends_are_scored_in_every_turn() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = DOIT
    encoder = Encoder(resolve_template(tokenizer), EncodeOptions(max_length=500))
    view = encoder.encode([TURNS])[0].conditioned
    scored = bytes(view.input_ids[view.scored].tolist()).decode()
    masked = bytes(view.input_ids[~view.scored].tolist()).decode()
    assert scored == "答 one<eot>答案是B<eot>"
    assert masked == "<user>第一个问题<eot><assistant><user>and the second?<eot><assistant>"
