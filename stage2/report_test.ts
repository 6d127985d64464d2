import { Failure, Failure_step, limitKeys } from "../ffi/abi.gen.ts";
import { assertEquals } from "../tests/assert.ts";
import { kernelError } from "./report.ts";

/** The message of a failure that stage2 reported. */
function message(step: typeof Failure_step[number], index: number, errno: number): string {
  const view = new DataView(new ArrayBuffer(Failure.size));
  view.setUint32(Failure.index, index, true);
  view.setUint16(Failure.errno, errno, true);
  view.setUint16(Failure.step, Failure_step.indexOf(step), true);
  return kernelError(view, 0, "web").message;
}

Deno.test("kernelError() names what the step failed of, for a limit its key", () => {
  const swap = limitKeys.indexOf("memory.swap");
  const devices = limitKeys.indexOf("devices");
  assertEquals(message("cgroup", 3, 17), 'Cannot cgroup "web": EEXIST');
  assertEquals(
    message("limit", swap, 95),
    'Cannot limit "linux.resources.memory.swap": EOPNOTSUPP',
  );
  assertEquals(
    message("limit", 2 << 16 | devices, 22),
    'Cannot limit "linux.resources.devices[2]": EINVAL',
  );
});
