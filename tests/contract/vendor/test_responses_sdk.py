"""The fake's Responses API is what the vendor's own SDK accepts, whole and streamed."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from fakes.vendor import FakeVendor, Reply

TOOL: Any = {"type": "function", "name": "lookup", "strict": True, "parameters": {
    "type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "additionalProperties": False}}


@pytest.mark.parametrize("reply", [
    Reply(text="In the drawer."), Reply(refusal="No."), Reply(text="Yes.", reasoning="Let me see."), Reply(tool_calls=(("lookup", '{"id": "1"}'),)),
    Reply(text="Cut", finish_reason="length")])
async def test_a_stream_ends_with_what_a_whole_answer_has(client: openai.AsyncOpenAI, vendor: FakeVendor, reply: Reply) -> None:
    """The SDK folds the events itself and compares identities on its way."""
    vendor.script.say(reply)
    whole = await client.responses.create(model="gpt-4o", input="Where is it?", tools=[TOOL])
    vendor.script.say(reply)
    async with client.responses.stream(model="gpt-4o", input="Where is it?", tools=[TOOL]) as stream:
        kinds = [event.type async for event in stream]
    last = kinds[-1]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert last == ("response.incomplete" if reply.finish_reason else "response.completed")
    assert whole.status == last.removeprefix("response.")
    assert whole.output_text == (reply.text or "")


async def test_it_refuses_what_the_api_refuses(client: openai.AsyncOpenAI) -> None:
    """Unknown parameters and items; thoughts that were not kept."""
    for given in ({"input": "x", "extra_body": {"nonsense": 1}}, {"input": [{"type": "nonsense"}]}):
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="gpt-4o", **given)  # type: ignore[call-overload]
    kept: Any = [{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "user", "content": "x"}]
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="gpt-4o", input=kept, store=False)
