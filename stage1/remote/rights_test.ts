import { assert, assertEquals } from "../../tests/assert.ts";
import { file_kurma } from "../api/kurma.gen.ts";
import { Health } from "../api/standard/grpc/health/v1/health.gen.ts";
import { ServerReflection } from "../api/standard/grpc/reflection/v1/reflection.gen.ts";
import { ServerReflection as ServerReflectionAlpha } from "../api/standard/grpc/reflection/v1alpha/reflection.gen.ts";
import { hostThings } from "../containers/restrictions.ts";
import { knownMethods, leastRole, mayCall, restrictionsOf } from "./rights.ts";
import { roleOrder } from "./roles.ts";

const methods = [...file_kurma.services, Health, ServerReflection, ServerReflectionAlpha]
  .flatMap((service) => service.methods);

Deno.test("every method of the API has a role, and no other one has", () => {
  const names = methods.map(({ parent, name }) => `${parent.typeName}/${name}`);
  assertEquals([...knownMethods].sort(), names.sort());
});

Deno.test("what a role may call, all above it may", () => {
  for (const method of methods) {
    const who = roleOrder.filter((role) => mayCall(role, method));
    assertEquals(who, roleOrder.slice(roleOrder.length - who.length));
    assert(who.includes("admin"), method.name);
  }
});

Deno.test("what is not in the table is nobody's", () => {
  const [method] = methods;
  for (const name of ["Nothing", "toString", "__proto__"]) {
    assertEquals(leastRole({ parent: method.parent, name }), undefined);
    assertEquals(mayCall("admin", { parent: method.parent, name }), false);
  }
  const parent = { ...method.parent, typeName: "constructor" };
  assertEquals(mayCall("admin", { parent, name: "name" }), false);
});

Deno.test("only an admin gives something of the host away", () => {
  assertEquals(restrictionsOf("admin"), undefined);
  for (const role of ["viewer", "operator"] as const) {
    assertEquals(restrictionsOf(role), {
      forbid: hostThings,
      hostPaths: [],
      remoteRegistries: true,
    });
  }
});
