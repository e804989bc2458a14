// The Vercel AI SDK: streamText with its provider for compatible upstreams.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { jsonSchema, streamText, tool } from "ai";

import { QUESTION, described, run } from "./jobs.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

await run(async (job, shown) => {
  const provider = createOpenAICompatible({
    name: "gateway",
    baseURL: job.base_url,
    apiKey: "unused",
    includeUsage: true,
  });
  const tools = {};
  for (const name of job.tools) {
    const inputSchema = jsonSchema({ type: "object", properties: {}, additionalProperties: true });
    tools[name] = tool({ description: name, inputSchema });
  }
  const result = streamText({
    model: provider("m"),
    prompt: QUESTION,
    maxRetries: 0,
    ...(job.tools.length ? { tools } : {}),
    onError: () => {}, // else it prints them
  });
  for await (const part of result.fullStream) {
    if (part.type === "reasoning-delta") shown.reasoning += part.text;
    else if (part.type === "text-delta") shown.content += part.text;
    else if (part.type === "tool-call")
      shown.calls.push({ id: part.toolCallId, name: part.toolName, arguments: part.input });
    else if (part.type === "error") shown.error ??= described(part.error);
    else if (part.type === "finish") {
      shown.finish = part.finishReason;
      shown.usage = part.totalUsage;
    }
  }
});
