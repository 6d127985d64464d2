import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { explain } from "./failure.ts";

Deno.test("explain() gives cause, fix and status of what Kurma reports on purpose", () => {
  const cause = new Error("the tape is torn");
  const error = new KurmaError("missing", 'Cannot read "x"', { cause, fix: "Mend it" });
  assertEquals(explain(error), {
    cause: 'Cannot read "x": the tape is torn',
    fix: "Mend it",
    status: 3,
  });
});

Deno.test("explain() shows what an image put into a message instead of obeying it", () => {
  const error = new KurmaError("invalid", 'No user "\x1b[2J\n"', { fix: "Not \x07" });
  assertEquals(explain(error), {
    cause: 'No user "\\x1b[2J\\n"',
    fix: "Not \\x07",
    status: 2,
  });
});

Deno.test("explain() does not repeat a cause whose words the message has already", () => {
  const error = new KurmaError("kernel", "Cannot mount: EPERM", { cause: new Error("EPERM") });
  assertEquals(explain(error).cause, "Cannot mount: EPERM");
});

Deno.test("explain() names the errno of what the kernel refused", async () => {
  const cause = await rejection(() => Deno.readTextFileSync("/nowhere/a"));
  const error = new KurmaError("missing", "Cannot read it", { cause });
  assertMatch(explain(error).cause, /^Cannot read it: ENOENT(: [^:]*)?$/);
});

Deno.test("explain() calls any other error a bug and says where it happened", () => {
  const { cause, fix, status } = explain(new TypeError("x is not a function"));
  assertEquals([cause, status], ["x is not a function", 1]);
  assertMatch(fix ?? "", /bug in Kurma; please report it, with "at .*failure_test\.ts/);
  assertEquals(explain("a string").cause, "a string");
});
