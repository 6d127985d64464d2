/**
 * Which role may call what. A method that is not in the table is nobody's: a new one has to
 * be thought about first.
 *
 * @module
 */

import type { DescMethod } from "@bufbuild/protobuf";
import { hostThings, type Restrictions } from "../containers/restrictions.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { type Role, roleOrder } from "./roles.ts";

/**
 * The least role for each method, by service.
 *
 * A viewer changes nothing and sees no secrets: environments, arguments and logs have some,
 * so what shows them is an operator's. A name of the store can make an administrator run
 * what another has put behind it, so giving names to images is an administrator's.
 */
const leastRoles: Readonly<Record<string, Readonly<Record<string, Role>>>> = {
  "kurma.v1.Containers": {
    List: "viewer",
    Stats: "viewer",
    Wait: "viewer",
    Attach: "operator",
    CopyIn: "operator",
    CopyOut: "operator",
    Create: "operator",
    Enter: "operator",
    Exec: "operator",
    Get: "operator",
    Kill: "operator",
    Logs: "operator",
    Pause: "operator",
    Prune: "operator",
    Remove: "operator",
    Rename: "operator",
    Restart: "operator",
    Resume: "operator",
    Run: "operator",
    Start: "operator",
    Stop: "operator",
    Top: "operator",
    Update: "operator",
  },
  "kurma.v1.Pods": {
    List: "viewer",
    Create: "operator",
    Get: "operator",
    Kill: "operator",
    Pause: "operator",
    Prune: "operator",
    Remove: "operator",
    Rename: "operator",
    Restart: "operator",
    Resume: "operator",
    Start: "operator",
    Stop: "operator",
  },
  "kurma.v1.Images": {
    List: "viewer",
    Export: "operator",
    Get: "operator",
    Prune: "operator",
    Pull: "operator",
    Remove: "operator",
    Import: "admin",
    Push: "admin", // With the passwords of this machine.
    Tag: "admin",
    Verify: "admin", // It fetches what is damaged again.
  },
  "kurma.v1.Volumes": {
    Get: "viewer",
    List: "viewer",
    Create: "operator",
    Prune: "operator",
    Remove: "operator",
    Update: "operator",
  },
  "kurma.v1.Events": {
    Watch: "viewer",
  },
  "kurma.v1.System": {
    Ping: "viewer",
    Status: "viewer",
    Version: "viewer",
    Reload: "admin",
  },
  "grpc.health.v1.Health": {
    Check: "viewer",
    Watch: "viewer",
  },
  "grpc.reflection.v1.ServerReflection": {
    ServerReflectionInfo: "viewer",
  },
  "grpc.reflection.v1alpha.ServerReflection": {
    ServerReflectionInfo: "viewer",
  },
};

/** All methods that somebody may call, as in `kurma.v1.Containers/Exec`. */
export const knownMethods: readonly string[] = Object.entries(leastRoles).flatMap(
  ([service, methods]) => Object.keys(methods).map((method) => `${service}/${method}`),
);

/** The least role that may call a method; undefined: nobody may. */
export function leastRole({ parent, name }: Pick<DescMethod, "parent" | "name">): Role | undefined {
  const methods = Object.hasOwn(leastRoles, parent.typeName) ? leastRoles[parent.typeName] : {};
  return Object.hasOwn(methods, name) ? methods[name] : undefined;
}

/** Whether a role may call a method. */
export function mayCall(role: Role, method: Pick<DescMethod, "parent" | "name">): boolean {
  const least = leastRole(method);
  return least !== undefined && roleOrder.indexOf(role) >= roleOrder.indexOf(least);
}

/** A method as messages call it: `Containers/Exec`, those of others with their package. */
export function shownName({ parent, name }: Pick<DescMethod, "parent" | "name">): string {
  return `${parent.typeName}/${name}`.replace(/^kurma\.v1\./, "");
}

/**
 * Refuses a method that a role may not call.
 *
 * @param why What the message says of the caller.
 * @param remedy What to do, if it is the least role that may which is wanted.
 * @throws {KurmaError} `denied`.
 */
export function requireRole(
  role: Role,
  method: Pick<DescMethod, "parent" | "name">,
  why: string,
  remedy: (least: Role) => string,
): void {
  if (mayCall(role, method)) return;
  const least = leastRole(method);
  throw new KurmaError("denied", `Cannot call ${shownName(method)}: ${why}`, {
    fix: least === undefined
      ? "Nobody may call it from elsewhere; call it on the machine itself"
      : remedy(least),
  });
}

/** Nothing of the host. */
const nothingOfTheHost: Restrictions = {
  forbid: hostThings,
  hostPaths: [],
  remoteRegistries: true,
};

/** What a role may not give to containers; undefined: it may give everything. */
export function restrictionsOf(role: Role): Restrictions | undefined {
  return role === "admin" ? undefined : nothingOfTheHost;
}
