/**
 * A gRPC client that is not ours: grpc-js, under Node.
 *
 *   node client.mjs PROTO SOCKET     prints one line of JSON a result
 *
 * @module
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [proto, socket] = process.argv.slice(2);
const { kurma: { v1 } } = grpc.loadPackageDefinition(loader.loadSync(proto));
const connect = (Service) => new Service(`unix:${socket}`, grpc.credentials.createInsecure());
const containers = connect(v1.Containers);
const say = (value) => console.log(JSON.stringify(value));

/** A unary call as a promise of its answer, or of the name of its status. */
const call = (method, request, options = {}) =>
  new Promise((resolve) =>
    containers[method](
      request,
      options,
      (error, answer) => resolve(error ? grpc.status[error.code] : answer),
    )
  );

say((await call("Create", { name: "web", start: true })).container.name);
say((await call("List", {})).containers.map(({ name }) => name));
say(await call("Get", { container: "none" }));
say(await call("Wait", { container: "web" }, { deadline: Date.now() + 300 }));

const exec = containers.Exec();
const heard = [];
exec.on("data", ({ output, exited }) => {
  if (exited) heard.push(exited.code);
  if (output) heard.push(output.toString());
  // In turns: the next is sent when this one has come back.
  if (output) {
    exec.write(
      heard.length < 20 ? { input: Buffer.from(`${heard.length}`) } : { closeInput: true },
    );
  }
});
exec.write({ start: { container: "web", command: ["cat"] } });
exec.write({ input: Buffer.from("0") });
await new Promise((resolve) => exec.on("end", resolve));
say([heard.length, heard[0], heard.at(-1)]);

const copy = await new Promise((resolve) => {
  const upload = containers.CopyIn((error, answer) => resolve(error ?? answer));
  upload.write({ start: { container: "web", path: "/" } });
  for (let count = 0; count < 50; count++) upload.write({ chunk: Buffer.alloc(100_000) });
  upload.end();
});
say(String(copy.bytes));

const logs = containers.Logs({ container: "web", follow: true });
let lines = 0;
logs.on("data", () => ++lines === 100 && logs.cancel());
const { code } = await new Promise((resolve) => logs.on("error", resolve));
say(grpc.status[code]);
containers.close();
