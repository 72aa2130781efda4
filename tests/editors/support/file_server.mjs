// Serves one file on loopback as a site of models does: whole, or from where an earlier try stopped.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";

export class FileServer {
  /** The byte at which each request wanted to begin. */
  asked = [];

  /** A request for the whole gets half, and then waits: whoever wants the rest has to ask for it. */
  constructor(file) {
    const size = statSync(file).size;
    this.server = createServer((request, response) => {
      const begin = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      this.asked.push(begin);
      response.writeHead(begin > 0 ? 206 : 200, {
        "Content-Type": "application/octet-stream", "Content-Length": size - begin, "Accept-Ranges": "bytes",
        ...(begin > 0 ? { "Content-Range": `bytes ${begin}-${size - 1}/${size}` } : {}),
      });
      if (begin > 0) createReadStream(file, { start: begin }).pipe(response);
      else createReadStream(file, { end: Math.floor(size / 2) }).pipe(response, { end: false });
    });
  }

  /** Returns the base URL. */
  async start() {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
