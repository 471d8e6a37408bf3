"""Turns a record of any common instruction format into an :class:`~lit_curriculum.Example`.

Three families are distinguished by their field names:

===============  ==============================================================================================
turns            ``messages`` or ``conversations``: a list of ``{role, content}`` or ``{from, value}``
Alpaca           ``instruction`` with optional ``input``, and ``output``
prompt/response  one of ``instruction, prompt, question, query`` (or ``input`` alone), optional ``input`` or
                 ``context``, and one of ``output, response, completion, answer``
===============  ==============================================================================================

The last two may have ``system`` (text) and ``history`` (earlier ``[user, assistant]`` pairs); ``messages`` may have
``system``. Where several fields could be meant the record is refused rather than guessed at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from lit_curriculum.types import Example, Message, Role

PROMPT_FIELDS = ("instruction", "prompt", "question", "query")
INPUT_FIELDS = ("input", "context")
RESPONSE_FIELDS = ("output", "response", "completion", "answer")
TURN_FIELDS = ("messages", "conversations", "conversation")
ABILITY_FIELDS = ("ability", "task")

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}


class MalformedRecordError(ValueError):
    """A record that no example can be made of; the message is the rest of a sentence about the record."""


def to_example(fields: Mapping[str, Any], source: str, index: int = 0, input_join: str = "\n\n") -> Example:
    """The example that a record holds.

    Args:
        fields: The record; fields that are not used go into ``meta`` untouched. Where the response field is a list
            of references, the first is the response and the whole list stays in ``meta`` under the field's name.
        source: Where the record was read, and its id where it has none.
        index: The example's index.
        input_join: Text between instruction and input.

    Raises:
        MalformedRecordError: a field is missing, ambiguous or of the wrong type, or the turns make no conversation.
    """
    used: set[str] = set()
    turns = _present(fields, TURN_FIELDS)
    system = _optional_text(fields, "system", used)
    if len(turns) > 1:
        raise MalformedRecordError(f"has both {turns[0]} and {turns[1]}; which is the conversation is unclear")
    if turns:
        messages = _from_turns(fields[turns[0]], turns[0])
        used.add(turns[0])
        if system and messages[0].role == "system":
            raise MalformedRecordError(f"has a field system and a system turn in {turns[0]} as well")
    else:
        messages = _from_pair(fields, used, input_join)
    if system:
        messages.insert(0, Message(role="system", content=system))
    _check(messages)
    ability = None
    for name in ABILITY_FIELDS:
        if fields.get(name) is not None:
            ability = _name(fields, name, used)
            break
    return Example(
        index=index,
        id=_name(fields, "id", used) if fields.get("id") is not None else source,
        messages=tuple(messages),
        content_hash=content_hash(messages),
        ability=ability,
        source=source,
        meta={k: v for k, v in fields.items() if k not in used or (k in RESPONSE_FIELDS and isinstance(v, list))},
    )


def name_ability(field: str, fields: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The record with the value of ``field`` as its ability.

    Raises:
        MalformedRecordError: it has no such field.
    """
    del source
    if fields.get(field) is None:
        raise MalformedRecordError(f"has no field {field}, which data.ability_field names (it has {', '.join(fields)})")
    return {**fields, "ability": fields[field]}


def content_hash(messages: Sequence[Message]) -> str:
    """32 hexadecimal digits (BLAKE2b, 128 bits) over roles and contents, lengths included so none can run together."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        content = message.content.encode()
        digest.update(f"{message.role}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def has_empty_response(messages: Sequence[Message]) -> bool:
    """Whether an assistant turn holds nothing but blanks."""
    return any(m.role == "assistant" and not m.content.strip() for m in messages)


def _from_turns(value: Any, field: str) -> list[Message]:
    if not isinstance(value, list):
        raise MalformedRecordError(f"has a field {field} that is {_kind(value)}, not a list of turns")
    if not value:
        raise MalformedRecordError(f"has a field {field} without a turn")
    messages = []
    for number, turn in enumerate(value):
        where = f"{field}[{number}]"
        if not isinstance(turn, dict):
            raise MalformedRecordError(f"has a turn {where} that is {_kind(turn)}, not an object")
        role_key, text_key = ("from", "value") if "from" in turn else ("role", "content")
        for key in (role_key, text_key):
            if key not in turn:
                raise MalformedRecordError(f"has a turn {where} without {key}")
        role = turn[role_key]
        if not isinstance(role, str) or role not in _ROLES:
            raise MalformedRecordError(f"has a turn {where} with the role {role!r}; known are {', '.join(_ROLES)}")
        messages.append(Message(role=_ROLES[role], content=_text(turn[text_key], f"{where}.{text_key}")))
    return messages


def _from_pair(fields: Mapping[str, Any], used: set[str], input_join: str) -> list[Message]:
    if "instruction" in fields and "output" in fields:
        prompt_field, response_field = "instruction", "output"
    else:
        prompts, responses = _present(fields, PROMPT_FIELDS), _present(fields, RESPONSE_FIELDS)
        prompt_field = _only(prompts or _present(fields, INPUT_FIELDS), PROMPT_FIELDS, fields)
        response_field = _only(responses, RESPONSE_FIELDS, fields)
    prompt = _text(fields[prompt_field], prompt_field)
    inputs = [f for f in _present(fields, INPUT_FIELDS) if f != prompt_field]
    # Where both exist, input is the Alpaca field and context stays in meta.
    extra = _optional_text(fields, inputs[0], used) if inputs else ""
    used.update((prompt_field, response_field))
    user = input_join.join(part for part in (prompt, extra) if part)
    messages = _history(fields, used)
    messages.append(Message(role="user", content=user))
    messages.append(Message(role="assistant", content=_response(fields[response_field], response_field)))
    return messages


def _response(value: Any, field: str) -> str:
    if isinstance(value, list):
        if not value:
            raise MalformedRecordError(f"has a field {field} that is an empty list of references")
        return _text(value[0], f"{field}[0]")
    return _text(value, field)


def _history(fields: Mapping[str, Any], used: set[str]) -> list[Message]:
    value = fields.get("history")
    used.add("history")
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedRecordError(f"has a field history that is {_kind(value)}, not a list of [user, assistant] pairs")
    messages = []
    for number, pair in enumerate(value):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise MalformedRecordError(f"has an entry history[{number}] that is no [user, assistant] pair")
        messages.append(Message(role="user", content=_text(pair[0], f"history[{number}][0]")))
        messages.append(Message(role="assistant", content=_text(pair[1], f"history[{number}][1]")))
    return messages


def _check(messages: Sequence[Message]) -> None:
    if messages[-1].role != "assistant":
        raise MalformedRecordError(f"ends with the turn of the {messages[-1].role}, not of the assistant")
    if all(m.role != "user" for m in messages):
        raise MalformedRecordError("has no turn of the user")
    for number, message in enumerate(messages):
        if message.role == "system" and number > 0:
            raise MalformedRecordError(f"has a system turn at place {number + 1}; only the first turn may be one")
        if message.role == "user" and not message.content.strip():
            raise MalformedRecordError(f"has an empty user turn at place {number + 1}")


def _present(fields: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [name for name in names if fields.get(name) is not None]


def _only(found: Sequence[str], names: Sequence[str], fields: Mapping[str, Any]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise MalformedRecordError(f"has the fields {' and '.join(found)}; which one is meant is unclear")
    missing = [n for n in names if n in fields]
    if missing:
        raise MalformedRecordError(f"has a field {missing[0]} that is null, expected text")
    raise MalformedRecordError(f"has none of the fields {', '.join(names)} (it has {', '.join(fields) or 'no field'})")


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise MalformedRecordError(f"has a field {field} that is {_kind(value)}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedRecordError(f"has a field {field} with half a surrogate pair at {error.start}") from error
    return value


def _optional_text(fields: Mapping[str, Any], name: str, used: set[str]) -> str:
    used.add(name)
    value = fields.get(name)
    return "" if value is None else _text(value, name)


def _name(fields: Mapping[str, Any], name: str, used: set[str]) -> str:
    used.add(name)
    value = fields[name]
    # A number is a name too, true and false are not.
    return str(value) if type(value) is int else _text(value, name)


def _kind(value: Any) -> str:
    names = {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
