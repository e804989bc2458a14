// The frame of both scripts: a JSON list of jobs on stdin, a JSON list of results on stdout.
// A job is {"base_url", "tools"}, tools a list of names; a result {"reasoning", "content",
// "calls": [{"id", "name", "arguments"}], "finish", "usage", "error"}.

import { readFileSync } from "node:fs";

export const QUESTION = "What is 7 × 8?";

export async function run(ask) {
  const results = [];
  for (const job of JSON.parse(readFileSync(0, "utf8"))) {
    const shown = {
      reasoning: "", content: "", calls: [], finish: null, usage: null, error: null,
    };
    try {
      await ask(job, shown);
    } catch (error) {
      shown.error = described(error);
    }
    results.push(shown);
  }
  process.stdout.write(JSON.stringify(results));
}

// What the caller of an SDK sees of an error: its class, and what it says of the answer.
export function described(error) {
  return {
    name: error?.name ?? typeof error,
    class: error?.constructor?.name ?? typeof error,
    message: String(error?.message ?? error),
    status: error?.status ?? error?.statusCode ?? null,
    code: error?.code ?? null,
    body: error?.error ?? error?.responseBody ?? null,
  };
}
