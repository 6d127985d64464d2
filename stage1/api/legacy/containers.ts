/**
 * The containers of the first Kurma over the manager of today.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { KurmaError } from "../../../ffi/errors.ts";
import type { Manager } from "../../containers/manager.ts";
import { specOfApp } from "../../containers/manifests/pod_manifest.ts";
import { checkName } from "../../containers/names.ts";
import { meaningOf } from "../../containers/planning.ts";
import type { Container, Phase } from "../../containers/record.ts";
import type { Resolved } from "../../containers/resolve.ts";
import type { ContainerSpec } from "../../containers/spec.ts";
import { parseContainerSpec } from "../../containers/validate.ts";
import { parseAciManifest } from "../../images/aci_manifest.ts";
import { importImage } from "../../images/mod.ts";
import { EnterRequestSchema } from "../kurma.gen.ts";
import { enter } from "../streams.ts";
import type { LegacyContainer, LegacyContainers } from "./service.ts";

/** What an image manifest is called in messages. */
const what = "the image manifest";

/** @param root The state folder of images. */
export function legacyContainers(manager: Manager, root: string): LegacyContainers {
  const answer = (container: Container): LegacyContainer => ({
    uuid: uuidOf(container),
    manifest: JSON.stringify(podManifest(manager, container)),
    state: states[container.status.phase],
  });
  return {
    check(name, manifest) {
      return Promise.try(() => void specOf(name, manifest, "none"));
    },
    async create(name, manifest, image, signal) {
      const { record } = await importImage(image, { root, signal });
      await manager.create(specOf(name, manifest, record.id), { start: true, pull: "never" });
    },
    async destroy(uuid) {
      const { id } = await manager.stop(uuid);
      await manager.remove(id);
    },
    list: () => Promise.resolve(manager.list().map(answer)),
    get: (uuid) => Promise.try(() => answer(manager.get(uuid))),
    async *enter(uuid, input, signal) {
      async function* requests() {
        const start = { case: "start" as const, value: { container: uuid } };
        yield create(EnterRequestSchema, { message: start });
        for await (const value of input) {
          yield create(EnterRequestSchema, { message: { case: "input", value } });
        }
      }
      for await (const { message } of enter(manager, requests(), signal)) {
        if (message.case === "output") yield message.value;
      }
    },
  };
}

/**
 * What an image manifest asks for; it is its sender's will, isolators too. As it was then, a
 * container has the host's network unless it lists the namespaces of its own.
 *
 * @throws {KurmaError} `invalid`.
 */
function specOf(name: string, manifest: string, image: string): ContainerSpec {
  if (name !== "") checkName("container", name);
  const { config } = parseAciManifest(new TextEncoder().encode(manifest), what);
  if (config.command.length === 0) {
    throw new KurmaError("invalid", "Cannot create: the manifest has no app to run");
  }
  const { spec } = specOfApp(config, what);
  const lists = config.isolators?.some((each) => each.name === "os/linux/namespaces") ?? false;
  const network = lists ? {} : { network: "host" };
  return parseContainerSpec({
    ...spec,
    image,
    namespaces: { ...network, ...spec.namespaces },
    ...(name === "" ? {} : { name }),
  });
}

const states: Record<Phase, LegacyContainer["state"]> = {
  new: "NEW",
  starting: "STARTING",
  running: "RUNNING",
  stopping: "STOPPING",
  stopped: "STOPPED",
  exited: "EXITED",
};

/** An id with the hyphens of a UUID. */
function uuidOf({ id }: Container): string {
  return id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A pod of one app. Clients of then read nothing but sha512 as an image's id. */
function podManifest(manager: Manager, container: Container) {
  const { name, image } = container;
  const meant = manager.host.live.of(container).use && meaningOf(manager.host, container);
  return {
    acVersion: "0.8.11",
    acKind: "PodManifest",
    apps: [{
      name: name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-|-$/g, "") || "app",
      image: image.id.startsWith("sha512-") ? { id: image.id } : {},
      ...(meant ? { app: appOf(meant) } : {}),
    }],
  };
}

/** What it runs, as appc's `app`. */
function appOf({ args, env, user, workingDir }: Resolved) {
  const [name, group = "0"] = user.split(":");
  const environment = env.map((variable) => {
    const at = variable.indexOf("=");
    return { name: variable.slice(0, at), value: variable.slice(at + 1) };
  });
  return { exec: args, user: name || "0", group, environment, workingDirectory: workingDir };
}
