// openai-node, with the deltas put together as its guide for streaming does it.

import OpenAI from "openai";

import { QUESTION, run } from "./jobs.mjs";

await run(async (job, shown) => {
  const client = new OpenAI({ baseURL: job.base_url, apiKey: "unused", maxRetries: 0 });
  const tools = job.tools.map((name) => ({
    type: "function",
    function: { name, description: name, parameters: { type: "object" } },
  }));
  const stream = await client.chat.completions.create({
    model: "m",
    messages: [{ role: "user", content: QUESTION }],
    stream: true,
    ...(tools.length ? { tools } : {}),
  });
  const calls = {};
  for await (const chunk of stream) {
    shown.usage = chunk.usage ?? shown.usage;
    for (const choice of chunk.choices) {
      shown.reasoning += choice.delta.reasoning_content ?? "";
      shown.content += choice.delta.content ?? "";
      shown.finish = choice.finish_reason ?? shown.finish;
      for (const part of choice.delta.tool_calls ?? []) {
        if (!(part.index in calls)) {
          calls[part.index] = { id: null, name: "", arguments: "" };
          shown.calls.push(calls[part.index]);
        }
        const call = calls[part.index];
        call.id = part.id ?? call.id;
        call.name += part.function?.name ?? "";
        call.arguments += part.function?.arguments ?? "";
      }
    }
  }
});
