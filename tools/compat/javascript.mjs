// OpenAI's, Ollama's and Vercel's own JavaScript clients against a node: node javascript.mjs BASE MODEL
// Run by javascript.py in a folder that has the packages; prints a line for each check.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, streamText } from "ai";
import { Ollama } from "ollama";
import OpenAI, { toFile } from "openai";

const [, , base, model] = process.argv;
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
const ollama = new Ollama({ host: base });
const vercel = createOpenAICompatible({
  name: "opengateway", baseURL: `${base}/v1`, includeUsage: true, supportsStructuredOutputs: true,
});
const messages = [{ role: "user", content: "What is 2+2?" }];
const ask = { model, messages, temperature: 0 };
const told = { model: vercel(model), prompt: "What is 2+2?", temperature: 0, maxRetries: 0 };

function four(text) {
  if (text.trim() !== "4") throw Error(`not 4: ${text}`);
}

async function joined(stream, piece) {
  let text = "";
  for await (const event of stream) text += piece(event) ?? "";
  return text;
}

const checks = {
  async "openai: models"() {
    const found = [];
    for await (const one of openai.models.list()) found.push(one.id);
    if (!found.includes(model)) throw Error(String(found));
  },
  async "openai: chat"() {
    four((await openai.chat.completions.create(ask)).choices[0].message.content);
  },
  async "openai: chat, streamed with usage"() {
    let usage;
    const stream = await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } });
    four(await joined(stream, (event) => { usage = event.usage ?? usage; return event.choices[0]?.delta.content; }));
    if (!usage.total_tokens) throw Error("no usage");
  },
  async "openai: its helper for streams"() {
    four((await openai.chat.completions.stream(ask).finalChatCompletion()).choices[0].message.content);
  },
  async "openai: responses"() {
    four((await openai.responses.create({ model, input: "What is 2+2?", temperature: 0 })).output_text);
  },
  async "openai: responses, streamed"() {
    const stream = await openai.responses.create({ model, input: "What is 2+2?", temperature: 0, stream: true });
    four(await joined(stream, (event) => (event.type === "response.output_text.delta" ? event.delta : "")));
  },
  async "openai: files and batches"() {
    const line = { custom_id: "a", method: "POST", url: "/v1/chat/completions", body: ask };
    const file = await openai.files.create({ file: await toFile(Buffer.from(`${JSON.stringify(line)}\n`), "in.jsonl"), purpose: "batch" });
    let batch = await openai.batches.create({ input_file_id: file.id, endpoint: line.url, completion_window: "24h" });
    for (let tries = 0; tries < 300 && batch.status !== "completed"; tries++) {
      await new Promise((later) => setTimeout(later, 100));
      batch = await openai.batches.retrieve(batch.id);
    }
    const answer = JSON.parse(await (await openai.files.content(batch.output_file_id)).text());
    four(answer.response.body.choices[0].message.content);
    await openai.files.delete(file.id);
  },
  async "openai: errors"() {
    const error = await openai.chat.completions.create({ ...ask, model: "nope" }).then(() => null, (failed) => failed);
    if (error?.status !== 404 || error.code !== "model_not_found") throw error ?? Error("no error");
  },
  async "ollama: list, show, ps"() {
    if (!(await ollama.list()).models.length) throw Error("no models");
    await ollama.show({ model });
    await ollama.ps();
  },
  async "ollama: chat, streamed and not"() {
    const options = { temperature: 0 };
    four((await ollama.chat({ model, messages, options })).message.content);
    four(await joined(await ollama.chat({ model, messages, options, stream: true }), (part) => part.message.content));
  },
  async "ollama: generate"() {
    four((await ollama.generate({ model, prompt: "What is 2+2?", options: { temperature: 0 } })).response);
  },
  async "ai: text"() {
    four((await generateText(told)).text);
  },
  async "ai: text, streamed"() {
    const answer = streamText(told);
    four(await joined(answer.textStream, (text) => text));
    if (!(await answer.usage).totalTokens) throw Error("no usage");
  },
  async "ai: an object of a schema"() {
    const wanted = { type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false };
    const { object } = await generateObject({ ...told, schema: jsonSchema(wanted), maxOutputTokens: 60 });
    if (!Number.isInteger(object.a)) throw Error(JSON.stringify(object));
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`fine    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${String(error.message ?? error).slice(0, 300)}`);
  }
}
process.exit(failed ? 1 : 0);
