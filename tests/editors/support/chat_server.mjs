// An OpenAI-compatible endpoint on loopback that answers chats with pieces, one event each.
import { createServer } from "node:http";
import { once } from "node:events";

export class ChatServer {
  /** What was asked, in order: the bodies. */
  asked = [];
  /** Answers that whoever asked did not wait for. */
  left = 0;

  /**
   * `answer`: the pieces, or what makes them of the text of the last message. A piece of null is never
   * followed by another: the model thinks until it is left alone.
   */
  constructor(answer) {
    this.server = createServer(async (request, response) => {
      let body = "";
      for await (const data of request) body += data;
      this.asked.push(JSON.parse(body));
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.on("close", () => (this.left += response.writableEnded ? 0 : 1));
      const pieces = typeof answer === "function" ? answer(this.asked.at(-1).messages.at(-1).content) : answer;
      for (const content of pieces) {
        if (content === null) return;
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`);
      }
      response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`);
      response.end("data: [DONE]\n\n");
    });
  }

  /** Returns the base URL. */
  async start() {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${this.server.address().port}/v1`;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
