// One request with one of Node's clients: node held.mjs KIND; the environment as for held.py.
import https from "node:https";

const { TARGET, READ, AGENT, SSL_CERT_FILE } = process.env;
const seconds = READ ? Number(READ) : undefined;
const headers = { "content-type": "application/json", ...(AGENT ? { "user-agent": AGENT } : {}) };
const say = (line) => console.log(JSON.stringify(line));

async function throughFetch(fetch, more = {}) {
  const answer = await fetch(TARGET, { method: "POST", body: "{}", headers, ...more });
  return [answer.status, await answer.text()];
}

const kinds = {
  fetch: () => throughFetch(fetch),
  async "undici-fetch"() {
    const undici = await import("undici");
    const dispatcher = new undici.EnvHttpProxyAgent(seconds ? { headersTimeout: seconds * 1000 } : {});
    return throughFetch(undici.fetch, { dispatcher });
  },
  async "undici-request"() {
    const undici = await import("undici");
    const dispatcher = new undici.EnvHttpProxyAgent(seconds ? { headersTimeout: seconds * 1000 } : {});
    const answer = await undici.request(TARGET, { method: "POST", body: "{}", headers, dispatcher });
    return [answer.statusCode, await answer.body.text()];
  },
  http: () =>
    new Promise((resolve, reject) => {
      const asked = https.request(TARGET, { method: "POST", headers, ...(seconds ? { timeout: seconds * 1000 } : {}) });
      asked.on("timeout", () => asked.destroy(new Error("timeout")));
      asked.on("error", reject);
      asked.on("response", async (answer) => {
        let body = "";
        for await (const part of answer) body += part;
        // Each answer is told by itself: a second one would be a second line.
        resolve([answer.statusCode, body]);
      });
      asked.end("{}");
    }),
  async axios() {
    const { default: axios } = await import("axios");
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
    const more = seconds ? { timeout: seconds * 1000 } : {};
    const answer = await axios.post(TARGET, {}, { headers, proxy: false, httpsAgent: agent, ...more });
    return [answer.status, JSON.stringify(answer.data)];
  },
  async openai() {
    const { default: OpenAI } = await import("openai");
    const more = seconds ? { timeout: seconds * 1000 } : {};
    const client = new OpenAI({ apiKey: "0".repeat(40), baseURL: `${TARGET}/v1`, ...more });
    const { data, response } = await client.chat.completions
      .create({ model: "m", messages: [{ role: "user", content: "hello" }] })
      .withResponse();
    return [response.status, data.choices[0].message.content];
  },
  async anthropic() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const more = seconds ? { timeout: seconds * 1000 } : {};
    const client = new Anthropic({ apiKey: "0".repeat(40), baseURL: TARGET, ...more });
    const { data, response } = await client.messages
      .create({ model: "m", max_tokens: 9, messages: [{ role: "user", content: "hello" }] })
      .withResponse();
    return [response.status, data.content[0].text];
  },
  async stripe() {
    const { default: Stripe } = await import("stripe");
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    const more = seconds ? { timeout: seconds * 1000 } : {};
    const client = new Stripe("sk_test_" + "0".repeat(24), {
      host: new URL(TARGET).host, httpAgent: new HttpsProxyAgent(process.env.HTTPS_PROXY), ...more,
    });
    const refund = await client.refunds.create({ charge: "ch_1", amount: 100 });
    return [refund.lastResponse.statusCode, refund.id];
  },
};

try {
  const [status, saw] = await kinds[process.argv[2]]();
  say({ status, saw });
} catch (error) {
  const why = error.cause ? `${error.message}: ${error.cause.message}` : error.message;
  say({ raised: `${error.name}: ${why}`.slice(0, 300) });
}
process.exit(0);
