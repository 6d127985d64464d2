/**
 * Calls of every method there is, and which role is to be allowed which.
 *
 * @module
 */

import { create, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { file_kurma, PullPolicy } from "../../stage1/api/kurma.gen.ts";
import { Health } from "../../stage1/api/standard/grpc/health/v1/health.gen.ts";
import { ServerReflection } from "../../stage1/api/standard/grpc/reflection/v1/reflection.gen.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../stage1/api/standard/grpc/reflection/v1alpha/reflection.gen.ts";
import type { Role } from "../../stage1/remote/roles.ts";

/** All methods that there are, whether anybody has thought of them or not. */
export const methods = [...file_kurma.services, Health, ServerReflection, ServerReflectionAlpha]
  .flatMap((service) => service.methods);

export const nameOf = ({ parent, name }: DescMethod) => `${parent.typeName}/${name}`;

/** What a viewer is to be allowed, written down once more. */
const viewers = [
  "kurma.v1.Containers/List",
  "kurma.v1.Containers/Stats",
  "kurma.v1.Containers/Wait",
  "kurma.v1.Pods/List",
  "kurma.v1.Images/List",
  "kurma.v1.Volumes/Get",
  "kurma.v1.Volumes/List",
  "kurma.v1.Events/Watch",
  "kurma.v1.System/Ping",
  "kurma.v1.System/Version",
  "kurma.v1.System/Status",
  "grpc.health.v1.Health/Check",
  "grpc.health.v1.Health/Watch",
  "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/** What an operator is not. */
const admins = [
  "kurma.v1.Images/Import",
  "kurma.v1.Images/Push",
  "kurma.v1.Images/Tag",
  "kurma.v1.Images/Verify",
  "kurma.v1.System/Reload",
];

/** A request that does nothing: what it is about is not there. */
export function harmless(schema: DescMessage): Message {
  const message = create(schema) as Message & Record<string, unknown>;
  for (const field of schema.fields) {
    if (field.fieldKind === "scalar" && typeof message[field.localName] === "string") {
      message[field.localName] = field.name === "reference" ? "no name" : "not-there";
    }
    if (field.localName === "pull") message.pull = PullPolicy.NEVER;
  }
  // Of a pod there is no manifest, and no container is made in one.
  for (const name of ["manifest", "pod"]) {
    if (schema.field.image && name in message) message[name] = "";
  }
  if ("manifest" in message) message.manifest = "";
  const start = schema.fields.find(({ name }) => name === "start");
  if (start?.message) {
    message.message = { case: "start", value: harmless(start.message) };
  }
  return message;
}

/** Calls a method until its first answer, and tells why that failed. */
export async function attempt(
  transport: Transport,
  method: DescMethod,
  message = harmless(method.input),
): Promise<ConnectError | undefined> {
  const cancelled = new AbortController();
  async function* input() {
    yield await Promise.resolve(message);
  }
  try {
    if (method.methodKind === "unary") {
      const client = createClient(method.parent, transport) as Record<
        string,
        (message: Message) => Promise<unknown>
      >;
      await client[method.localName](message);
      return undefined;
    }
    const stream = await transport.stream(
      method as Parameters<Transport["stream"]>[0],
      ...[cancelled.signal, undefined, undefined, input()] as const,
    );
    for await (const _ of stream.message) break;
    return undefined;
  } catch (error) {
    return ConnectError.from(error);
  } finally {
    cancelled.abort();
  }
}

/** Whether a role is to be allowed a method. */
export function isAllowed(role: Role, method: DescMethod): boolean {
  const name = nameOf(method);
  return role === "admin" || viewers.includes(name) ||
    (role === "operator" && !admins.includes(name));
}
