/**
 * What a kurmad does first: it compares what is recorded with what stage2 has and with
 * what is on disk, and makes them agree. Nothing here depends on how far the kurmad
 * before it came.
 *
 * @module
 */

import { readExits } from "../../stage2/exits.ts";
import type { ContainerState, Exit, Stage2 } from "../../stage2/server.ts";
import { folderOf, type Host, isUp, oneLine, runName, trashOf } from "./host.ts";
import { afterwardsName, loseHandler } from "./handlers.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { meaningOf } from "./planning.ts";
import { holderName } from "./pod_place.ts";
import { removeTree } from "./make_steps.ts";
import type { Container } from "./record.ts";
import { startsWithDaemon } from "./restarts.ts";
import { forgetRun } from "./run_steps.ts";
import { forget } from "./runs.ts";

/**
 * Brings records and reality together. Starts that follow from it happen in the background.
 *
 * @param stage2 A server that nobody else has asked for anything yet.
 */
export async function recover(host: Host, lifecycle: Lifecycle, stage2: Stage2): Promise<void> {
  const there = new Map((await stage2.list()).map((state) => [state.id, state]));
  const recorded = exitsOf(host);
  const containers = [...host.state.containers.values()];
  const known = new Set(containers.map((container) => runName(container)));
  for (const container of containers) {
    if (container.status.postStop) known.add(afterwardsName(container));
    else if (!isUp(container)) continue;
    if (container.pod) known.add(holderName({ id: container.pod }));
  }

  await holdImages(host, containers);
  for (const container of containers) {
    if (!isUp(container)) continue;
    // In somebody's hands: what becomes of the start is the starter's to find out.
    if (container.status.phase === "starting" && host.queues.isBusy(container.id)) continue;
    const run = runName(container);
    const found = there.get(run) ?? goneAs(run, recorded.get(run)) ?? begunAs(run, container);
    decide(host, lifecycle, container, found);
  }
  for (const container of containers) {
    if (isUp(container)) continue;
    loseHandler(host, container); // Who waits for it asks this server again.
    if (host.queues.isBusy(container.id)) continue;
    // Its end was told, but perhaps not cleared up after.
    if (there.has(runName(container)) || container.status.postStop) {
      background(host, container, () => lifecycle.clear(container));
    }
    if (!startsWithDaemon(container.spec.restart ?? { policy: "no" }, container.status)) continue;
    background(host, container, async () => {
      if (!isUp(container)) await lifecycle.start(container, container.status.restarts + 1);
    });
  }
  for (const { id: run, state } of there.values()) {
    if (known.has(run) || state === "prepared") continue;
    forget(stage2, run).catch((error) => {
      host.log("error", `Cannot clear up after run ${run}`, { cause: oneLine(error) });
    });
  }
  sweep(host).catch((error) => host.log("error", "Cannot sweep", { cause: oneLine(error) }));
}

/** What becomes of a container that was up. */
function decide(
  host: Host,
  lifecycle: Lifecycle,
  container: Container,
  found: ContainerState | undefined,
): void {
  const { run, phase } = container.status;
  const stopping = phase === "stopping";
  switch (found?.state) {
    case "running":
      lifecycle.adopt(container, found.pid);
      if (stopping) background(host, container, () => lifecycle.stop(container));
      return;
    case "stopped":
      if (found.exit) lifecycle.ended(container, run, found.exit);
      return;
    case "creating":
    case "created":
      // Taken back, and made again if that is still wanted. The end of what never was let run
      // is none to tell of.
      host.live.of(container).early = [];
      background(host, container, async () => {
        await forgetRun(host, container, true);
        host.live.of(container).early = undefined;
        if (stopping) lifecycle.ended(container, run, unknownExit());
        else await lifecycle.start(container, container.status.restarts);
      });
      return;
    case undefined:
      lifecycle.ended(container, run, unknownExit(), "stage2 or the machine went down with it");
  }
}

/** The last word on a container of which nobody saw the end. */
function unknownExit(): Exit {
  return { status: 137, endedAt: Date.now(), oom: false, record: 0 };
}

/** The ends that are on disk, by run. */
function exitsOf(host: Host): Map<string, Exit> {
  return new Map(
    readExits(host.supervisor.record()).map(({ id, status, oom, timeMs, sequence }) => [
      id,
      { status, oom, endedAt: timeMs, record: sequence },
    ]),
  );
}

function goneAs(id: string, exit: Exit | undefined): ContainerState | undefined {
  return exit === undefined ? undefined : { id, state: "stopped", pid: 0, exit };
}

/** A stage2 that is killed leaves no word of what it was making. */
function begunAs(id: string, { status }: Container): ContainerState | undefined {
  return status.phase === "starting" ? { id, state: "creating", pid: 0 } : undefined;
}

/** Takes hold of the images again; one that is gone keeps its containers from starting only. */
async function holdImages(host: Host, containers: readonly Container[]): Promise<void> {
  for (const container of containers) {
    const live = host.live.of(container);
    if (live.use !== undefined) continue;
    try {
      live.use = await host.images.use(container.image.id);
      meaningOf(host, container);
    } catch (error) {
      host.log("error", `Cannot find the image of "${container.name}"`, { cause: oneLine(error) });
    }
  }
}

/** Removes folders that no record names. */
async function sweep(host: Host): Promise<void> {
  const { containers, volumes } = host.folders;
  for (const folder of [trashOf(containers), trashOf(volumes)]) {
    for await (const { name } of Deno.readDir(folder)) await removeTree(`${folder}/${name}`);
  }
  for (const { name: id } of [...Deno.readDirSync(containers)]) {
    // One that is being made right now has a use.
    const isKnown = host.state.containers.has(id) || host.state.pods.has(id) || host.live.has(id);
    if (!isKnown && !id.startsWith(".")) await removeTree(folderOf(host, { id }));
  }
}

/** Does `work` when it is the container's turn, and says so if it fails. */
function background(host: Host, container: Container, work: () => Promise<void>): void {
  host.queues.run(container.id, work).catch((error) => {
    host.log("error", `Cannot bring "${container.name}" back`, { cause: oneLine(error) });
  });
}
