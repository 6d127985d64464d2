import { assert, assertEquals } from "../../../tests/assert.ts";
import { Decoder, encode, type Field, HpackError } from "./hpack.ts";
import { huffmanBytes, huffmanText } from "./huffman.ts";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));

const get: Field[] = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [
  ":authority",
  "www.example.com",
]];
const cached: Field[] = [...get, ["cache-control", "no-cache"]];
const custom: Field[] = [[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], [
  ":authority",
  "www.example.com",
], ["custom-key", "custom-value"]];
const location: Field = ["location", "https://www.example.com"];
const redirect = (status: string, seconds: number): Field[] => [
  [":status", status],
  ["cache-control", "private"],
  ["date", `Mon, 21 Oct 2013 20:13:${seconds} GMT`],
  location,
];
const last: Field[] = [
  [":status", "200"],
  ["cache-control", "private"],
  ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
  location,
  ["content-encoding", "gzip"],
  ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
];

/** RFC 7541, appendix C: blocks of one connection, and what they say. */
const examples: Record<string, { table?: number; blocks: [hex: string, fields: Field[]][] }> = {
  "C.2.1": {
    blocks: [[
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      [["custom-key", "custom-header"]],
    ]],
  },
  "C.2.2": { blocks: [["040c 2f73 616d 706c 652f 7061 7468", [[":path", "/sample/path"]]]] },
  "C.2.3": { blocks: [["1008 7061 7373 776f 7264 0673 6563 7265 74", [["password", "secret"]]]] },
  "C.2.4": { blocks: [["82", [[":method", "GET"]]]] },
  "C.3": {
    blocks: [
      ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", get],
      ["8286 84be 5808 6e6f 2d63 6163 6865", cached],
      ["8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", custom],
    ],
  },
  "C.4": {
    blocks: [
      ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", get],
      ["8286 84be 5886 a8eb 1064 9cbf", cached],
      ["8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", custom],
    ],
  },
  "C.5": {
    table: 256,
    blocks: [
      [
        `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        redirect("302", 21),
      ],
      ["4803 3330 37c1 c0bf", redirect("307", 21)],
      [
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
        last,
      ],
    ],
  },
  "C.6": {
    table: 256,
    blocks: [
      [
        `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        redirect("302", 21),
      ],
      ["4883 640e ffc1 c0bf", redirect("307", 21)],
      [
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
         4ee5 b106 3d50 07`,
        last,
      ],
    ],
  },
};

for (const [name, { table, blocks }] of Object.entries(examples)) {
  Deno.test(`Decoder reads example ${name} of RFC 7541`, () => {
    const decoder = new Decoder(table);
    for (const [hex, fields] of blocks) assertEquals(decoder.decode(bytes(hex)).fields, fields);
  });
}

Deno.test("integers read as in the examples C.1 of RFC 7541, and no larger ones", () => {
  const resized = (hex: string) => new Decoder(100_000).decode(bytes(hex));
  assertEquals(resized("2a").fields, []); // 10 behind 5 bits
  assertEquals(resized("3f9a0a").fields, []); // 1337 behind 5 bits
  assert.throws(() => resized("3fffffff7f"), /not allowed/);
  assert.throws(() => resized("3fffffffffff7f"), /too large/);
});

Deno.test("Huffman codes round-trip for every octet", () => {
  const all = String.fromCharCode(...Array(256).keys());
  assertEquals(huffmanText(huffmanBytes(all)), all);
  assertEquals(huffmanBytes("www.example.com").toHex(), "f1e3c2e5f23a6ba0ab90f4ff");
});

const broken = {
  "an index of 0": "80",
  "an index past the tables": "be",
  "a name past the tables": "7f00 00",
  "an end inside an integer": "ff80",
  "an end inside a string": "0005 6161",
  "an end behind a name": "0001 61",
  "padding of zeros": "0081 18 00",
  "padding of eight ones": "0083 ffff ff 00",
  "the end of the string inside": "0084 ffff fffc 00",
  "a size update behind a field": "82 20",
  "a size update past the limit": "3fe2 1f",
};
for (const [what, hex] of Object.entries(broken)) {
  Deno.test(`Decoder refuses ${what}`, () => {
    assert.throws(() => new Decoder().decode(bytes(hex)), HpackError);
  });
}

Deno.test("Decoder forgets all entries after a size update to 0", () => {
  const decoder = new Decoder();
  decoder.decode(bytes("4001 6101 62"));
  assertEquals(decoder.decode(bytes("be")).fields, [["a", "b"]]);
  assert.throws(() => decoder.decode(bytes("20 be")), HpackError);
});

Deno.test("Decoder stops collecting at its limit, and still keeps its table right", () => {
  const decoder = new Decoder(4096, 100);
  const { fields, tooLarge } = decoder.decode(
    bytes(`4001 6101 62 ${"be".repeat(10)} 4001 6301 64`),
  );
  assertEquals([fields.length, tooLarge], [2, true]);
  assertEquals(decoder.decode(bytes("be")), { fields: [["c", "d"]], tooLarge: false });
});

Deno.test("encode() is what a Decoder reads, with no entry in its table", () => {
  const fields: Field[] = [
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", "0"],
    ["x-long", "y".repeat(5000)],
    ["x-octets", "\u00ff\u0080"],
  ];
  const block = encode(fields);
  assertEquals(new Decoder(0).decode(block).fields, fields);
});

Deno.test("Decoder ends with fields or an HpackError whatever bytes come", () => {
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 0x7fff_ffff);
  const decoder = new Decoder(256, 1000);
  let read = 0;
  for (let round = 0; round < 20_000; round++) {
    const block = Uint8Array.from({ length: random() % 40 }, () => random());
    try {
      const { fields } = decoder.decode(block);
      read += fields.length;
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
    }
  }
  assert(read > 100);
});
