// One request with Node's own fetch: URL, method, body and headers as JSON on stdin, what came of it on stdout.
// From Node 24 on, fetch takes the proxy from the environment; before, its dispatcher is given a connection
// through CONNECT, as undici's ProxyAgent makes one.
import http from "node:http";
import tls from "node:tls";

const asked = JSON.parse(await new Response(process.stdin).text());
const options = { method: asked.method, headers: asked.headers };
if (asked.body !== null) options.body = Buffer.from(asked.body, "base64");

if (Number(process.versions.node.split(".")[0]) < 24) {
  await fetch("data:,"); // loads undici, which leaves its dispatcher here
  const { constructor: Agent } = globalThis[Symbol.for("undici.globalDispatcher.1")];
  const proxy = new URL(process.env.HTTPS_PROXY);
  const connect = ({ hostname, port }, done) => {
    const authority = `${hostname}:${port || 443}`;
    const request = http.request({
      host: proxy.hostname, port: proxy.port, method: "CONNECT", path: authority,
      headers: { host: authority },
    });
    request.on("error", done);
    request.on("connect", (answer, socket) => {
      if (answer.statusCode !== 200) return done(new Error(`CONNECT: ${answer.statusCode}`));
      const secured = tls.connect({ socket, servername: hostname, ALPNProtocols: ["http/1.1"] });
      secured.once("secureConnect", () => done(null, secured)).once("error", done);
    });
    request.end();
  };
  options.dispatcher = new Agent({ connect });
}

const answer = await fetch(asked.url, options);
const body = Buffer.from(await answer.arrayBuffer()).toString("base64");
console.log(JSON.stringify({ status: answer.status, headers: [...answer.headers], body }));
process.exit(answer.ok ? 0 : 1);
