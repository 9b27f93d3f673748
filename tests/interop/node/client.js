// A subscriber by grpc-js: node client.js TARGET [CA-FILE]. It prints what it gets, one line each.
"use strict";
const fs = require("fs");
const grpc = require("@grpc/grpc-js");

const [target, authority] = process.argv.slice(2);
const secrets = authority
  ? grpc.credentials.createSsl(fs.readFileSync(authority))
  : grpc.credentials.createInsecure();
const client = new grpc.Client(target, secrets, { "grpc.keepalive_time_ms": 10000 });
const same = (raw) => raw;

function stream(name, path, request, count, seconds) {
  return new Promise((done) => {
    const options = { deadline: Date.now() + seconds * 1000 };
    const call = client.makeServerStreamRequest(path, same, same, request, new grpc.Metadata(), options);
    let number = 0;
    call.on("data", (raw) => {
      if (name === "stream" && number < count) console.log("message " + raw.toString("base64"));
      if (++number === count) call.cancel();
    });
    call.on("error", () => {});
    call.on("status", (found) => {
      console.log(`${name} ${found.code} ${found.details}`);
      done();
    });
  });
}

(async () => {
  await stream("stream", "/orderbook.OrderbookAggregator/BookSummary", Buffer.alloc(0), 50, 20);
  const wrong = Buffer.from([0x0a, 4, 0x44, 0x4f, 0x47, 0x45]);
  await stream("refused", "/pollux.v1.MarketDataService/StreamBook", wrong, 1, 20);
  await stream("unknown", "/pollux.v1.MarketDataService/Nothing", Buffer.alloc(0), 1, 20);
  await stream("deadline", "/grpc.health.v1.Health/Watch", Buffer.alloc(0), 0, 0.3);
  client.close();
})();
