/**
 * Archives that attack who unpacks them, by the numbers of docs/decisions/033-hostile-images.md.
 * An archive is refused for the reason given, or unpacks to what `inside` says, which is
 * then all it could do.
 *
 * @module
 */

import { gzipSync, zstdCompressSync } from "node:zlib";
import { type Entry, tar } from "../tar_fixture.ts";
import type { ImageLimits } from "../../stage1/images/layers.ts";

/** A layer, or several. */
export interface Hostile {
  number: number;
  name: string;
  /** What the first layer has; `host` is the folder that it is after. */
  entries?(host: string): Entry[];
  /** Instead of `entries`: the bytes of the layer as they come. */
  bytes?(): Uint8Array<ArrayBuffer>;
  /** Further layers on top. */
  above?(host: string): Entry[][];
  limits?: ImageLimits;
  /** Why it is refused, as the message says it. */
  refused?: RegExp;
  /** Otherwise: what `find` shows in the top layer, `PATH TYPE MODE` each. */
  inside?: readonly string[];
}

const up = "../".repeat(8);
const file = (name: string, more: Partial<Entry> = {}): Entry => ({
  name,
  content: "escaped\n",
  mode: 0o644,
  ...more,
});
const link = (name: string, to: string): Entry => ({ name, link: to, type: "symlink" });
const hard = (name: string, to: string): Entry => ({ name, link: to, type: "link" });
const folder = (name: string, more: Partial<Entry> = {}): Entry => ({
  name,
  type: "directory",
  ...more,
});
const bare = (path: string) => path.slice(1);

const outside = /it names something outside itself/;
const nowhere = /a name leads through something that is no folder/;
const damaged = /a header is damaged/;
const noTarget = /a hard link leads to nothing in it/;

const traversal: Hostile[] = [
  ...[
    ["../ in front", (host: string) => `${up}${bare(host)}/escaped`],
    ["an absolute name", (host: string) => `${host}/escaped`],
    ["../ after a folder of its own", (host: string) => `a/${up}${bare(host)}/escaped`],
    ["../ between dots and slashes", (host: string) => `././/${up}/${bare(host)}/escaped`],
    ["nothing but ..", () => ".."],
    [".. at the end", () => "a/.."],
    ["../ that stays inside", () => "a/b/../c"],
    ["two slashes in front", (host: string) => `/${host}/escaped`],
  ].map(([name, path]) => ({
    number: 35,
    name: name as string,
    entries: (host: string) => [file((path as (host: string) => string)(host))],
    refused: outside,
  })),
  {
    number: 35,
    name: "../ in the prefix of a name",
    entries: (host) => [file(`${bare(host)}/escaped`, { prefix: up.slice(0, -1) })],
    refused: outside,
  },
  {
    number: 35,
    name: "an honest name, and another in its extended header",
    entries: (host) => [file("honest", { pax: { path: `${up}${bare(host)}/escaped` } })],
    refused: outside,
  },
  {
    number: 35,
    name: "an honest name, and another in an entry of GNU tar's",
    entries: (host) => [file("honest", { longName: `${up}${bare(host)}/escaped` })],
    refused: outside,
  },
  {
    number: 35,
    name: "a sparse file's own name",
    entries: (host) => [
      file("honest", {
        pax: {
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.name": `${up}${bare(host)}/escaped`,
          "GNU.sparse.size": "8",
          "GNU.sparse.map": "0,8",
        },
      }),
    ],
    refused: outside,
  },
  {
    number: 35,
    name: "a folder with ..",
    entries: (host) => [folder(`${up}${bare(host)}/escaped/`)],
    refused: outside,
  },
  {
    number: 35,
    name: "a NUL in an extended name",
    entries: () => [file("honest", { pax: { path: "a\0/../../b" } })],
    refused: damaged,
  },
  {
    number: 35,
    name: "a name of 5000 bytes",
    entries: () => [file("x", { pax: { path: `${"n".repeat(19)}/`.repeat(250) } })],
    refused: /a path is longer than 4095 bytes/,
  },
  {
    number: 35,
    name: "a component of 256 bytes",
    entries: () => [file("x", { longName: "n".repeat(256) })],
    refused: /a name is longer than 255 bytes/,
  },
  {
    number: 35,
    name: "a name that is empty",
    entries: () => [file("")],
    refused: damaged,
  },
  {
    number: 35,
    name: "the root as a file",
    entries: () => [file(".")],
    refused: /its root is no folder/,
  },
  {
    number: 35,
    name: "backslashes and a drive",
    entries: () => [file("..\\..\\x"), file("C:\\x")],
    inside: ["..\\..\\x f 644", "C:\\x f 644"],
  },
];

const links: Hostile[] = [
  {
    number: 36,
    name: "a link to the host, then a file through it",
    entries: (host) => [link("l", host), file("l/escaped")],
    refused: nowhere,
  },
  {
    number: 36,
    name: "a link to the root, then a file of the host through it",
    entries: (host) => [link("l", "/"), file(`l${host}/escaped`)],
    inside: ["l l 777"],
  },
  {
    number: 36,
    name: "a link with ../, then a file through it",
    entries: (host) => [link("l", `${up}${bare(host)}`), file("l/escaped")],
    refused: nowhere,
  },
  {
    number: 36,
    name: "links that lead over each other",
    entries: (host) => [link("a", "b"), link("b", host), file("a/escaped")],
    refused: nowhere,
  },
  {
    number: 36,
    name: "links that lead in a circle",
    entries: () => [link("a", "b"), link("b", "a"), file("a/escaped")],
    refused: nowhere,
  },
  {
    number: 36,
    name: "a link to a file of the host, then that file",
    entries: (host) => [link("l", `${host}/secret`), file("l")],
    inside: ["l f 644"],
  },
  {
    number: 36,
    name: "a link to the host, then a folder of its name with another mode",
    entries: (host) => [link("l", host), folder("l", { mode: 0o777 })],
    inside: ["l d 777"],
  },
  {
    number: 36,
    name: "a folder, then a link of its name, then a file in it",
    entries: (host) => [folder("d"), file("d/a"), link("d", host), file("d/escaped")],
    refused: nowhere,
  },
  {
    number: 36,
    name: "a hard link to a file of the host",
    entries: (host) => [hard("h", `${host}/secret`), file("h")],
    refused: outside,
  },
  {
    number: 36,
    name: "a hard link with ../",
    entries: (host) => [hard("h", `${up}${bare(host)}/secret`), file("h")],
    refused: outside,
  },
  {
    number: 36,
    name: "an honest hard link, and another in its extended header",
    entries: (host) => [file("a"), { ...hard("h", "a"), pax: { linkpath: `${host}/secret` } }],
    refused: outside,
  },
  {
    number: 36,
    name: "an honest hard link, and another in an entry of GNU tar's",
    entries: (host) => [file("a"), { ...hard("h", "a"), longLink: `${host}/secret` }],
    refused: outside,
  },
  {
    number: 36,
    name: "a hard link through a link to the host",
    entries: (host) => [link("l", host), hard("h", "l/secret"), file("h")],
    refused: noTarget,
  },
  {
    number: 36,
    name: "a hard link to a link to a file of the host, then that file",
    entries: (host) => [link("l", `${host}/secret`), hard("h", "l"), file("h")],
    inside: ["h f 644", "l l 777"],
  },
  {
    number: 36,
    name: "a hard link to /proc/self/environ",
    entries: () => [hard("h", "proc/self/environ")],
    refused: noTarget,
  },
  {
    number: 36,
    name: "a hard link to a folder",
    entries: () => [folder("d"), hard("h", "d")],
    refused: noTarget,
  },
  {
    number: 36,
    name: "a link to nothing",
    entries: () => [{ name: "l", type: "symlink", link: "" }],
    refused: damaged,
  },
  {
    number: 36,
    name: "a fifo through a link to the host",
    entries: (host) => [link("l", host), { name: "l/escaped", type: "fifo" }],
    refused: nowhere,
  },
  {
    number: 36,
    name: "a link to the host in one layer, a file through it in the next",
    entries: (host) => [link("l", host)],
    above: () => [[file("l/escaped")]],
    inside: ["l d 755", "l/escaped f 644"],
  },
  {
    number: 36,
    name: "a link of the magic kind",
    entries: () => [link("l", "/proc/self/root"), file("l/escaped")],
    refused: nowhere,
  },
];

const whiteouts: Hostile[] = [
  ...[".wh.", ".wh..", ".wh..."].map((name) => ({
    number: 37,
    name: `a whiteout called ${name}`,
    entries: () => [folder("d"), file(`d/${name}`)],
    refused: /a whiteout hides nothing that has a name/,
  })),
  {
    number: 37,
    name: "a whiteout with ../",
    entries: (host) => [file(`${up}${bare(host)}/.wh.secret`)],
    refused: outside,
  },
  {
    number: 37,
    name: "a whiteout through a link to the host",
    entries: (host) => [link("l", host), file("l/.wh.secret")],
    refused: nowhere,
  },
  {
    number: 37,
    name: "an opaque folder through a link to the host",
    entries: (host) => [link("l", host), file("l/.wh..wh..opq")],
    refused: nowhere,
  },
  {
    number: 37,
    name: "a whiteout that is a link to the host",
    entries: (host) => [link(".wh.secret", host)],
    inside: ["secret c 0"],
  },
  {
    number: 37,
    name: "a whiteout of overlayfs itself, smuggled in",
    entries: () => [{ name: "d/hidden", type: "character", major: 0, minor: 0 }],
    inside: ["d d 755"],
  },
  {
    number: 37,
    name: "attributes of overlayfs itself",
    entries: () => [
      folder("d", { pax: { "SCHILY.xattr.trusted.overlay.opaque": "y" } }),
      file("f", {
        pax: {
          "SCHILY.xattr.trusted.overlay.redirect": "/etc/shadow",
          "SCHILY.xattr.user.overlay.metacopy": "",
        },
      }),
    ],
    inside: ["d d 755", "f f 644"],
  },
];

const nodes: Hostile[] = [
  {
    number: 38,
    name: "a disk of the host",
    entries: () => [{ name: "dev/sda", type: "block", major: 8, minor: 0, mode: 0o666 }],
    inside: ["dev d 755"],
  },
  {
    number: 38,
    name: "the host's memory",
    entries: () => [{ name: "mem", type: "character", major: 1, minor: 1, mode: 0o666 }],
    inside: [],
  },
  {
    number: 38,
    name: "a program that runs as root",
    entries: () => [file("su", { mode: 0o4755 })],
    inside: ["su f 4755"],
  },
  {
    number: 38,
    name: "an entry of a type that nobody knows",
    entries: () => [{ name: "v", flag: "V" }],
    refused: /it has an entry of unknown type/,
  },
  {
    number: 38,
    name: "an owner that wraps to root",
    entries: () => [file("f", { pax: { uid: "4294967296" } })],
    refused: /a file's owner is no user/,
  },
];

/** A frame that wants a window of 2 GiB. RFC 8878, 3.1.1.1.2: exponent 21. */
const wideWindow = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];

const zeros = () => tar([{ name: "zeros", content: new Uint8Array(100 << 20) }]);

const bombs: Hostile[] = [
  {
    number: 39,
    name: "100 MiB of zeros in 100 KiB of gzip",
    bytes: () => new Uint8Array(gzipSync(zeros())),
    refused: /it grows to more than 250 times its size/,
  },
  {
    number: 39,
    name: "100 MiB of zeros in zstd",
    bytes: () => new Uint8Array(zstdCompressSync(zeros())),
    refused: /it grows to more than 250 times its size/,
  },
  {
    number: 39,
    name: "a zstd window of 2 GiB",
    bytes: () => new Uint8Array(wideWindow),
    refused: /its zstd data is damaged or cut off/,
  },
  {
    number: 39,
    name: "more bytes than are allowed",
    entries: () => [{ name: "f", content: new Uint8Array(2 << 20) }],
    limits: { bytes: 1 << 20 },
    refused: /it is too large/,
  },
  {
    number: 39,
    name: "more entries than are allowed",
    entries: () => Array.from({ length: 1001 }, (_, index) => file(`f${index}`, { content: "" })),
    limits: { entries: 1000 },
    refused: /it has too many entries/,
  },
  {
    number: 39,
    name: "folders that are nested too deep",
    entries: () => [file("x", { longName: `${"d/".repeat(300)}f` })],
    refused: /its folders are nested too deep/,
  },
  {
    number: 39,
    name: "an extended header of 2 MiB",
    entries: () => [file("f", { pax: { comment: "x".repeat(2 << 20) } })],
    refused: /a header is too long/,
  },
  {
    number: 39,
    name: "a sparse file with a length that no disk has",
    entries: () => [
      file("f", {
        pax: {
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.size": "9223372036854775807",
          "GNU.sparse.map": "0,8",
        },
      }),
    ],
    refused: /EFBIG/,
  },
  {
    number: 39,
    name: "a sparse file whose pieces overlap",
    entries: () => [
      file("f", {
        content: "x".repeat(16),
        pax: {
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.size": "16",
          "GNU.sparse.map": "8,8,0,8",
        },
      }),
    ],
    refused: damaged,
  },
  {
    number: 39,
    name: "a file that says it has 32 GiB and has 8 bytes",
    entries: () => [file("f", { size: 2 ** 35 - 1 })],
    refused: /it ends too early/,
  },
  {
    number: 39,
    name: "a header with another checksum",
    bytes: () => {
      const bytes = tar([file("f")]);
      bytes[100] ^= 1;
      return bytes;
    },
    refused: damaged,
  },
];

export const corpus: readonly Hostile[] = [
  ...traversal,
  ...links,
  ...whiteouts,
  ...nodes,
  ...bombs,
];
