import { assertEquals } from "../../tests/assert.ts";
import { painted } from "../colour.ts";
import { type Column, table } from "./table.ts";

interface Image {
  name: string;
  id: string;
  size: string;
}

const columns: Column<Image>[] = [
  { title: "NAME", text: ({ name }) => name, shrinks: true },
  { title: "ID", text: ({ id }) => id },
  { title: "SIZE", text: ({ size }) => size, right: true },
];
const images: Image[] = [
  {
    name: "registry.example.com/team/project/service:2031.04.17",
    id: "0123456789ab",
    size: "12.3 MiB",
  },
  { name: "größe-容器", id: "ba9876543210", size: "1 B" },
  { name: "", id: "ffffffffffff", size: "" },
];

const at60 = `
NAME                                  ID                SIZE
registry.example.com/team/project/s…  0123456789ab  12.3 MiB
größe-容器                            ba9876543210       1 B
-                                     ffffffffffff         -`.slice(1);
const at80 = `
NAME                                                  ID                SIZE
registry.example.com/team/project/service:2031.04.17  0123456789ab  12.3 MiB
größe-容器                                            ba9876543210       1 B
-                                                     ffffffffffff         -`.slice(1);

for (const [width, expected] of [[60, at60], [80, at80], [200, at80]] as const) {
  Deno.test(`a table on a terminal of ${width} columns`, async () => {
    assertEquals(await table(images, columns, { terminal: true, columns: width }), expected);
  });
}

Deno.test("a table in a pipe is never cut", async () => {
  assertEquals(await table(images, columns, { terminal: false, columns: 60 }), at80);
});

Deno.test("a column does not shrink to nothing, and never to half a letter", async () => {
  const lines = (await table(images, columns, { terminal: true, columns: 10 })).split("\n");
  assertEquals(lines.map((line) => line.split("  ")[0]), ["NAME", "registr…", "größe-…", "-"]);
});

Deno.test("a table without rows has its titles", async () => {
  assertEquals(await table([], columns, { terminal: true, columns: 80 }), "NAME  ID  SIZE");
});

Deno.test("a cell shows escape sequences instead of obeying them, also in a pipe", async () => {
  const image = { name: "a\x1b[2J\nb", id: "", size: "" };
  assertEquals(
    await table([image], columns, { terminal: false, columns: 80 }),
    "NAME         ID  SIZE\na\\x1b[2J\\nb  -      -",
  );
});

Deno.test("table() paints titles and cells, and measures them without their colours", async () => {
  const states: readonly Column<string>[] = [
    { title: "A", text: (row) => row, style: () => "green" },
    { title: "B", text: () => "1", right: true, style: () => "red" },
  ];
  assertEquals(
    await table(["up", "\x1b[5m"], states, { terminal: true, columns: 80, paint: painted }),
    [
      "\x1b[1mA\x1b[0m        \x1b[1mB\x1b[0m",
      "\x1b[32mup\x1b[0m       \x1b[31m1\x1b[0m",
      "\x1b[32m\\x1b[5m\x1b[0m  \x1b[31m1\x1b[0m",
    ].join("\n"),
  );
});

Deno.test("of several columns that may be cut, the widest are cut first and alike", async () => {
  const two: readonly Column<[string, string]>[] = [
    { title: "A", text: ([first]) => first, shrinks: true },
    { title: "FIXED", text: () => "0123456789" },
    { title: "B", text: ([, second]) => second, shrinks: true },
  ];
  const row: [string, string] = ["a".repeat(12), "b".repeat(40)];
  const at = async (columns: number) =>
    (await table([row], two, { terminal: true, columns })).split("\n")[1];
  assertEquals(await at(50), `${"a".repeat(12)}  0123456789  ${"b".repeat(23)}…`);
  assertEquals(await at(34), `${"a".repeat(9)}…  0123456789  ${"b".repeat(9)}…`);
  assertEquals(await at(5), `${"a".repeat(7)}…  0123456789  ${"b".repeat(7)}…`);
});
