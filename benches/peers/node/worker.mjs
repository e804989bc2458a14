// node worker.mjs PROBE ...: what `python -m benches.peers.probes` is, for readers in JavaScript.
// A line of stdin is {"probe", "base_url", "keeps"}, a line of stdout the answer.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import { createParser } from "eventsource-parser";

const MODEL = "sample";
const QUESTION = "What is it?";
const MESSAGES = [{ role: "user", content: QUESTION }];

class Run {
  constructor(keeps) {
    this.keeps = keeps;
    this.items = 0;
    this.reasoning = {};
    this.content = [];
  }

  begin() {
    this.start = process.cpuUsage();
  }

  took() {
    const { user, system } = process.cpuUsage(this.start);
    return (user + system) / 1e6;
  }

  think(place, text) {
    if (typeof text === "string" && text) (this.reasoning[place] ??= []).push(text);
  }

  say(text) {
    if (typeof text === "string" && text) this.content.push(text);
  }

  seeJson(chunk) {
    for (const { delta } of chunk.choices) {
      for (const name of ["reasoning_content", "reasoning"]) this.think(`\`${name}\``, delta[name]);
      this.say(delta.content);
    }
  }
}

async function eventsourceParser(baseUrl, run) {
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, stream: true, messages: MESSAGES }),
  });
  run.begin();
  const parser = createParser({
    onEvent(event) {
      if (event.data === "[DONE]") return;
      const chunk = JSON.parse(event.data);
      run.items++;
      if (run.keeps) run.seeJson(chunk);
    },
  });
  const decoder = new TextDecoder();
  for await (const data of response.body) parser.feed(decoder.decode(data, { stream: true }));
}

function model(baseUrl) {
  return createOpenAICompatible({ name: "sample", baseURL: baseUrl, apiKey: "unused" })(MODEL);
}

function seePart(run, part) {
  run.items++;
  if (!run.keeps) return;
  if (part.type === "error") throw part.error;
  // doStream calls the text `delta`, streamText calls it `text`.
  const text = part.delta ?? part.text;
  if (part.type === "reasoning-delta") run.think("`reasoning-delta`", text);
  if (part.type === "text-delta") run.say(text);
}

async function doStream(baseUrl, run) {
  const { stream } = await model(baseUrl).doStream({
    prompt: [{ role: "user", content: [{ type: "text", text: QUESTION }] }],
  });
  run.begin();
  for await (const part of stream) seePart(run, part);
}

// (Its stream sends the request, which is therefore counted.)
async function wholeSdk(baseUrl, run) {
  run.begin();
  const { fullStream } = streamText({ model: model(baseUrl), prompt: QUESTION, maxRetries: 0 });
  for await (const part of fullStream) seePart(run, part);
}

const PROBES = {
  "eventsource-parser": eventsourceParser,
  "ai-doStream": doStream,
  "ai-streamText": wholeSdk,
};

async function answer({ probe, base_url: baseUrl, keeps }) {
  const run = new Run(keeps);
  globalThis.gc?.();
  try {
    await PROBES[probe](baseUrl, run);
  } catch (error) {
    return { error: String(error) };
  }
  const took = run.took();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const { items, reasoning, content } = run;
  return { took, items, size: 0, reasoning, content, body: "" };
}

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const versions = { node: process.versions.node };
for (const name of ["ai", "@ai-sdk/openai-compatible", "eventsource-parser"]) {
  versions[name] = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
}
tell({ versions });
for await (const line of createInterface({ input: process.stdin })) tell(await answer(JSON.parse(line)));
