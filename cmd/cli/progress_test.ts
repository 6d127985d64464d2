import { assertEquals } from "../../tests/assert.ts";
import { bar, ProgressDisplay } from "./progress.ts";

const digest = `sha256:${"0123456789ab".padEnd(64, "c")}`;
const speed = { perSecond: 2.5 * 2 ** 20, leftMs: 1999 };
const half = { step: "read", subject: digest, bytes: 5 << 20, total: 10 << 20, ...speed } as const;

for (
  const [columns, line] of [
    [60, "sha256:0123456789ab  5.00 MiB of 10.0 MiB  2.50 MiB/s"],
    [
      80,
      "sha256:0123456789ab  [======       ]  5.00 MiB of 10.0 MiB  2.50 MiB/s  2 s left",
    ],
    [
      200,
      `sha256:0123456789ab  [${"=".repeat(20)}${
        " ".repeat(20)
      }]  5.00 MiB of 10.0 MiB  2.50 MiB/s  2 s left`,
    ],
  ] as const
) {
  Deno.test(`a bar fits ${columns} columns`, () => {
    assertEquals(bar(half, columns), line);
  });
}

Deno.test("without a total there is no bar, only how much and how fast", () => {
  const { total: _, leftMs: __, ...unknown } = half;
  assertEquals(bar(unknown, 80), "sha256:0123456789ab  5.00 MiB  2.50 MiB/s");
});

/** A display whose clock is `clock.ms`, and what it wrote. */
function recorded(terminal: boolean) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const screen = { terminal, columns: 50, write: (text: string) => void written.push(text) };
  return { display: new ProgressDisplay(screen, () => clock.ms), written, clock };
}

Deno.test("in a pipe each finished part is a line, and nothing else is said", () => {
  const { display, written } = recorded(false);
  display.update(half);
  display.update({ step: "unpacked", subject: digest, bytes: 10 << 20 });
  display.update({ step: "present", subject: "a\x1b[2J", bytes: 0 });
  assertEquals(written, [
    "sha256:0123456789ab  unpacked  10.0 MiB",
    "a\\x1b[2J  there already  0 B",
  ]);
});

Deno.test("on a terminal the lines are written over, ten times a second at most", () => {
  const { display, written, clock } = recorded(true);
  display.update({ step: "read", subject: "a", bytes: 0 });
  clock.ms = 50;
  display.update({ step: "read", subject: "b", bytes: 1 });
  clock.ms = 100;
  display.update({ step: "read", subject: "b", bytes: 2 });
  assertEquals(written, ["\ra  0 B\x1b[K", "\x1b[1A\ra  0 B\x1b[K\n\rb  2 B\x1b[K"]);
});
