import { assertEquals } from "../../tests/assert.ts";
import { partsOfRun, runName } from "./host.ts";

Deno.test("the name of a run has all that is needed to find its container", () => {
  const status = { run: 12 };
  assertEquals(runName({ id: "a1", status }), "a1.12");
  assertEquals(runName({ id: "a1", pod: "b2", status }), "b2/a1.12");
  assertEquals(runName({ id: "a1", pod: "b2", status }, "files"), "b2/a1.files");
  assertEquals(partsOfRun("a1.12"), { id: "a1", run: 12 });
  assertEquals(partsOfRun("b2/a1.12"), { id: "a1", run: 12 });
  assertEquals(partsOfRun("b2/a1.12.post-stop"), { id: "a1", run: 12, what: "post-stop" });
  for (const other of ["b2/pod", "a1", "a1.files", "b2/a1.files", "a1.", ""]) {
    assertEquals(partsOfRun(other), undefined, other);
  }
});
