/**
 * The reflection service, in both versions that clients ask for: the names of all services
 * and the files that describe them.
 *
 * @module
 */

import { createRegistry, type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "./standard/grpc/reflection/v1/reflection.gen.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as AlphaRequest,
} from "./standard/grpc/reflection/v1alpha/reflection.gen.ts";

/** Registers reflection for `services` and for itself. */
export function reflect(router: ConnectRouter, services: readonly DescService[]): void {
  const all = [...services, ServerReflection, ServerReflectionAlpha];
  const answer = answers(all);
  router.service(ServerReflection, {
    async *serverReflectionInfo(requests: AsyncIterable<ServerReflectionRequest>) {
      for await (const request of requests) {
        const { host: validHost } = request;
        yield { validHost, originalRequest: request, messageResponse: answer(request) };
      }
    },
  });
  router.service(ServerReflectionAlpha, {
    async *serverReflectionInfo(requests: AsyncIterable<AlphaRequest>) {
      for await (const request of requests) {
        const { host: validHost } = request;
        yield { validHost, originalRequest: request, messageResponse: answer(request) };
      }
    },
  });
}

/** Answers questions about what `services` use. */
function answers(services: readonly DescService[]) {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    file.dependencies.forEach(add);
  };
  services.forEach(({ file }) => add(file));
  const registry = createRegistry(...files.values());
  const names = services.map(({ typeName }) => typeName).sort();

  return ({ messageRequest: { case: kind, value } }: ServerReflectionRequest | AlphaRequest) => {
    switch (kind) {
      case "listServices":
        return {
          case: "listServicesResponse" as const,
          value: { service: names.map((name) => ({ name })) },
        };
      case "fileByFilename":
        return found(files.get(value), value);
      case "fileContainingSymbol":
        return found(declaring(value), value);
      case "fileContainingExtension": // None of our messages can be extended.
        return missing(`${value.containingType} has no extension ${value.extensionNumber}`);
      case "allExtensionNumbersOfType":
        return registry.getMessage(value) === undefined ? missing(value) : {
          case: "allExtensionNumbersResponse" as const,
          value: { baseTypeName: value, extensionNumber: [] },
        };
      default:
        return failure(Code.InvalidArgument, "The request asks nothing");
    }
  };

  /** The file with a message, enum, service, or with the method, field or value of one. */
  function declaring(symbol: string): DescFile | undefined {
    const whole = registry.get(symbol);
    if (whole) return whole.file;
    const dot = symbol.lastIndexOf(".");
    const owner = registry.get(symbol.slice(0, dot));
    const name = symbol.slice(dot + 1);
    const members = owner?.kind === "service"
      ? owner.methods
      : owner?.kind === "message"
      ? [...owner.fields, ...owner.oneofs]
      : owner?.kind === "enum"
      ? owner.values
      : [];
    return members.some((member) => member.name === name) ? owner?.file : undefined;
  }
}

/** A file and all that it needs. */
function found(file: DescFile | undefined, what: string) {
  if (file === undefined) return missing(what);
  const needed = new Set<DescFile>();
  const add = (each: DescFile) => {
    if (needed.has(each)) return;
    needed.add(each);
    each.dependencies.forEach(add);
  };
  add(file);
  const fileDescriptorProto = [...needed].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto)
  );
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function missing(what: string) {
  return failure(Code.NotFound, `Nothing is called ${what}`);
}

function failure(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}
