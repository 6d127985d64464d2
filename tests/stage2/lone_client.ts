/**
 * A client of a stage2 server that is there to be killed: makes the container of a plan,
 * lets it run, says so and waits.
 *
 *   deno run -A tests/stage2/lone_client.ts SOCKET PLAN
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { Stage2 } from "../../stage2/server.ts";
import type { Plan } from "../../stage2/spec.ts";

const [socket, file] = Deno.args;
const plan: Plan = JSON.parse(await Deno.readTextFile(file));
const stage2 = new Stage2(kernel, socket);
await stage2.create(plan, null);
await stage2.start(plan.kurma.id);
console.log("running");
await new Promise<never>(() => {});
