/**
 * What kurmad has made ahead: containers find it, and nobody else does.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { binary, mustRun, run } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { childrenOf, exists, until } from "../stage2/served.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

kurmadTest("a start finds its container prepared, and unused ones are no trace", async (kurmad) => {
  // Those of this daemon, in the order that it prepares them: what is left of another one's may
  // still be going.
  const prepared = () =>
    until("two prepared containers", async () => {
      // What goes while it looks is no failure.
      const find = "find /sys/fs/cgroup -path '*/kurma/*.1' -type d 2>/dev/null || true";
      const found = await mustRun(["sh", "-c", find]);
      const there = new Set(found.match(/[0-9a-f]{32}(?=\.1$)/gm));
      const own = await Deno.readTextFile(`${kurmad.dir}/state/prepared`).catch(() => "");
      const ids = new Set(own.split("\n").filter((id) => there.has(id)));
      return ids.size === 2 ? ids : undefined;
    });
  await until("a container to be one that was prepared", async () => {
    const before = await prepared();
    assertEquals((await kurmad.api.call("Containers", "List", {})).containers ?? [], []);
    const { id } = await ran(kurmad, "first", kurmad.image, ["true"]);
    if (before.has(id)) return true;
    return await unused(kurmad, "first");
  });
  // Both killed at once: nobody is left who knows of them but the file.
  const left = await prepared();
  Deno.kill(kurmad.stage2Pid(), "SIGKILL");
  await kurmad.killed();
  await until("others in their place", async () => {
    const now = await prepared();
    return left.isDisjointFrom(now) || undefined;
  });
});

/** The id of the container that is made ahead, once there is one that is none of `others`. */
function made(kurmad: Kurmad, ...others: string[]): Promise<string> {
  return until("a container that is made ahead", async () => {
    const known = new Set((await kurmad.list()).map(({ id }) => id));
    for (const { name } of Deno.readDirSync(containersOf(kurmad))) {
      if (known.has(name) || others.includes(name) || !/^[0-9a-f]{32}$/.test(name)) continue;
      // The last that is made of it before its command.
      if (await exists(`${containersOf(kurmad)}/${name}/rpc`)) return name;
    }
    return undefined;
  });
}

const containersOf = ({ dir }: Kurmad) => `${dir}/state/containers`;

/** Brings an image into the store under a name. */
async function named(kurmad: Kurmad, name: string, image: string): Promise<string> {
  const into = ["--root", `${kurmad.dir}/state`, "--name", name];
  return (await mustRun([binary, "image", "import", ...into, image])).trim();
}

/** Has a container be the one that is made ahead; what it printed. */
async function ranMade(
  kurmad: Kurmad,
  name: string,
  image: string,
  command: string[],
  more = {},
): Promise<string> {
  return await until(`${name} to be what was made ahead`, async () => {
    const ahead = await made(kurmad);
    const found = await ran(kurmad, name, image, command, more);
    if (found.id === ahead) return found.output;
    return await unused(kurmad, name);
  });
}

/** Makes room for another try: what is there ahead, kurmad may not have been told of yet. */
async function unused(kurmad: Kurmad, name: string): Promise<undefined> {
  await kurmad.api.call("Containers", "Remove", { container: name });
}

/** Makes and starts a container, and waits for its end; its id, and what it printed. */
async function ran(kurmad: Kurmad, name: string, image: string, command: string[], more = {}) {
  const settings = { command, ...more };
  const asked = { name, image, start: true, settings };
  const { container } = await kurmad.api.call("Containers", "Create", asked);
  const { exit } = await kurmad.api.call("Containers", "Wait", { container: name });
  assertEquals(exit?.code ?? 0, 0);
  return { id: container?.id ?? "", output: await printed(kurmad, name) };
}

/** All that a container printed. */
async function printed(kurmad: Kurmad, container: string): Promise<string> {
  using streams = await kurmad.api.streams();
  let output = "";
  for await (const { lines } of streams.containers.logs({ container })) {
    for (const { text } of lines) output += `${new TextDecoder().decode(text)}\n`;
  }
  return output;
}

kurmadTest("who is like the two before it is made but for its command", async (kurmad) => {
  const script = ["sh", "-c", "hostname; cat /etc/marker; id -u"];
  const other = ["sh", "-c", "ls /x 2>&1; touch /x && hostname"];
  await ran(kurmad, "one", kurmad.image, script);
  await ran(kurmad, "two", kurmad.image, other);
  // Its name, its command and its environment do not make it another one.
  const more = { env: ["A=b"], labels: { tier: "web" } };
  const telling = [...script.slice(0, 2), `${script[2]}; echo $A $HOME`];
  const three = await ranMade(kurmad, "three", kurmad.image, telling, more);
  assertEquals(three, "three\nfrom-the-image\n0\nb /root\n");
  const four = await ranMade(kurmad, "four", kurmad.image, other);
  assertEquals(four, "ls: /x: No such file or directory\nfour\n");
  // Its further runs are like everybody's.
  await kurmad.api.call("Containers", "Start", { container: "four" });
  await kurmad.api.call("Containers", "Wait", { container: "four" });
  assertEquals(await printed(kurmad, "four"), `${four}/x\nfour\n`);
  // One that wants another tree, or another user, leaves this one to whoever comes.
  const writing = ["sh", "-c", "touch /x 2>&1 || true"];
  const security = { readOnlyRoot: true };
  const five = await ran(kurmad, "five", kurmad.image, writing, { security });
  assertEquals(five.output, "touch: /x: Read-only file system\n");
  const user = await ran(kurmad, "user", kurmad.image, ["id", "-u"], { user: "app" });
  assertEquals(user.output, "1000\n");
  await ranMade(kurmad, "six", kurmad.image, other);
});

kurmadTest(
  "who is attached to a command that was made ahead sees and types all",
  async (kurmad) => {
    const env = { KURMA_HOST: kurmad.socket, KURMA_ROOT: `${kurmad.dir}/state` };
    const talk = async (turn: number) => {
      const script = `echo ${turn}; cat; exit ${turn}`;
      const command = ["run", "--rm", "-i", kurmad.image, "sh", "-c", script];
      const { status, stdout, stderr } = await run([binary, ...command], { env, stdin: "typed\n" });
      assertEquals([status, stdout, stderr], [turn, `${turn}\ntyped\n`, ""]);
    };
    for (const turn of [1, 2]) await talk(turn);
    for (const turn of [3, 4]) {
      await until("what was made ahead to be used", async () => {
        const ahead = await made(kurmad);
        await talk(turn);
        // It is removed with its end.
        return !await exists(`${containersOf(kurmad)}/${ahead}`) || undefined;
      });
    }
  },
);

kurmadTest("what is made ahead knows no secrets of those that it is like", async (kurmad) => {
  const secrets = ["dragonfly-in-env", "dragonfly-in-words"];
  const more = { env: [`SECRET=${secrets[0]}`] };
  for (const name of ["one", "two"]) {
    await ran(kurmad, name, kurmad.image, ["true", secrets[1]], more);
  }
  await made(kurmad);
  const looked = await until("all of it to wait", () => {
    const pids = descendants(kurmad.stage2Pid());
    const found = pids.filter((pid) => secrets.some((secret) => remembers(pid, secret)));
    // A worker that is about to end may have the plan of "two" still.
    return Promise.resolve(found.length === 0 && pids.length >= 3 ? pids : undefined);
  });
  assert(looked.some((pid) => remembers(pid, "ELF")), "no memory can be read");
});

/** The processes below one. */
function descendants(pid: number): number[] {
  return (childrenOf(pid) ?? []).flatMap((child) => [child, ...descendants(child)]);
}

/** Whether the memory of a process has a text in it; that of one that has gone has none. */
function remembers(pid: number, text: string): boolean {
  try {
    using memory = Deno.openSync(`/proc/${pid}/mem`);
    const maps = Deno.readTextFileSync(`/proc/${pid}/maps`);
    return maps.matchAll(/^(\w+)-(\w+) r(?!.*\[v).*$/gm).some(([, from, to]) => {
      const [start, end] = [parseInt(from, 16), parseInt(to, 16)];
      const bytes = new Uint8Array(end - start);
      memory.seekSync(start, Deno.SeekMode.Start);
      memory.readSync(bytes);
      return new TextDecoder("latin1").decode(bytes).includes(text);
    });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

kurmadTest("what was made is not taken for a name's next image", async (kurmad) => {
  const { oci, aci } = await images();
  const name = "example.com/moving:1";
  const first = await named(kurmad, name, oci);
  const command = ["sh", "-c", "cat /etc/marker"];
  await ran(kurmad, "one", name, command);
  await ran(kurmad, "two", name, command);
  await made(kurmad);
  const second = await named(kurmad, name, aci);
  assert(first !== second);
  await ranMade(kurmad, "three", name, command);
  const { container } = await kurmad.api.call("Containers", "Get", { container: "three" });
  assertEquals(container?.imageId, second);
});

kurmadTest("an image is removed although a container of it is made ahead", async (kurmad) => {
  const { guest } = await images();
  const name = "example.com/guest:1";
  const id = await named(kurmad, name, guest);
  for (const container of ["one", "two"]) {
    await ran(kurmad, container, name, ["/guest", "exit", "0"]);
  }
  const ahead = await made(kurmad);
  for (const container of ["one", "two"]) {
    await kurmad.api.call("Containers", "Remove", { container });
  }
  await kurmad.api.call("Images", "Remove", { image: id });
  const folder = `${containersOf(kurmad)}/${ahead}`;
  await until("the folder's end", async () => !await exists(folder) || undefined);
  // The same image again is used again.
  await named(kurmad, name, guest);
  assertEquals((await ran(kurmad, "three", name, ["/guest", "exit", "0"])).output, "");
});

kurmadTest("nothing that was made ahead outlives who had it made", async (kurmad) => {
  for (const name of ["one", "two"]) await ran(kurmad, name, kurmad.image, ["true"]);
  const first = await made(kurmad);
  await kurmad.killed();
  for (const name of ["three", "four"]) await ran(kurmad, name, kurmad.image, ["true"]);
  const second = await made(kurmad, first);
  Deno.kill(kurmad.stage2Pid(), "SIGKILL");
  await until("another stage2", () => {
    // One that is asked of the dying one is refused.
    return ran(kurmad, "five", kurmad.image, ["true"]).catch(() => undefined);
  });
  await ran(kurmad, "six", kurmad.image, ["true"]);
  const third = await made(kurmad, first, second);
  // What kurmad has made ahead is nothing that anybody left behind.
  const env = { KURMA_HOST: kurmad.socket, KURMA_ROOT: `${kurmad.dir}/state` };
  const { stdout } = await run([binary, "doctor", "--output", "json"], { env });
  const leftovers = JSON.parse(stdout).filter(({ check }: { check: string }) => {
    return check === "leftovers";
  });
  assertEquals(leftovers.map(({ finding }: { finding: string }) => finding), [
    "No dead container left anything",
  ]);
  await kurmad.restarted();
  // Unless it was taken before kurmad heard of the end of stage2: then it has run elsewhere.
  const taken = new Set((await kurmad.list()).map(({ id }) => id));
  for (const id of [first, second, third]) {
    if (taken.has(id)) continue;
    const folder = `${containersOf(kurmad)}/${id}`;
    await until(`the end of ${id}`, async () => !await exists(folder) || undefined);
  }
});
