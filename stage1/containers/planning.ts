/**
 * The plan of a container's next run: what its specification and its image say, at the
 * places that this host has for it.
 *
 * @module
 */

import type { Plan } from "../../stage2/spec.ts";
import { lookUpDevices } from "./device_nodes.ts";
import { folderOf, type Host, runName } from "./host.ts";
import { planContainer } from "./plan.ts";
import { firstId } from "./ranges.ts";
import type { Container } from "./record.ts";
import { resolve } from "./resolve.ts";

/** Makes the plan; the image is held already. */
export function planFor(host: Host, container: Container): Plan {
  const { use } = host.live.of(container);
  if (use === undefined) throw new TypeError(`The image of ${container.id} is not held`);
  const folder = folderOf(host, container);
  const { spec } = container;
  const meant = resolve(use.image.config, {
    ...spec,
    hostname: spec.hostname ?? container.name.slice(0, 63),
  });
  const plan = planContainer({
    id: runName(container),
    layers: use.image.layers.map((layer) => layer.path),
    scratch: folder,
    firstId: container.range === undefined ? undefined : firstId(container.range),
    devices: lookUpDevices(spec),
  }, meant);
  const log = { directory: `${folder}/log`, ...meant.log };
  return { ...plan, kurma: { ...plan.kurma, cgroup: true, log, rpc: `${folder}/rpc` } };
}
