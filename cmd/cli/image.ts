/**
 * `kurma image`: what is in the store, what comes into it, and what goes out again.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Damage, Removed } from "../../stage1/images/mod.ts";
import { bytes } from "./amounts.ts";
import { command, type Group, type Printed } from "./command.ts";
import { boolean, choice, string } from "./flags.ts";
import { type ImageRow, imageStore } from "./image_store.ts";
import { listed, listFlags, shown, structured } from "./output.ts";
import type { Column, Surroundings } from "./table.ts";
import { ago, size } from "./units.ts";

/** Progress as people see it, loaded by the commands that need it; none if it is to be quiet. */
const progress = async (quiet: boolean) =>
  quiet ? undefined : (await import("./progress.ts")).progressOnStderr();

/** The status of a store in which something is damaged. */
const damagedStatus = 4;

const columns: readonly Column<ImageRow>[] = [
  { title: "NAME", text: ({ names }) => names.map(familiar).join(", "), shrinks: true },
  { title: "ID", text: ({ id }) => shortId(id) },
  { title: "FORMAT", text: ({ format }) => format },
  { title: "LAYERS", text: ({ layers }) => String(layers), right: true, wide: true },
  { title: "SIZE", text: (image) => size(image.bytes), right: true },
  { title: "CREATED", text: ({ created }) => ago(Date.parse(created), Date.now()) },
  { title: "USED", text: ({ used }) => ago(Date.parse(used), Date.now()), wide: true },
];

/** How commands that change something show what they did; `text` is for scripts of one line. */
const output = choice("How to show it", ["text", "json", "yaml", "table"], {
  short: "o",
  placeholder: "FORM",
});
/** The flag of commands that take their time. */
const quiet = boolean("Show no progress", { short: "q" });
type Form = "text" | "json" | "yaml" | "table";

/** What a command did, in each of its forms. */
interface Answer<Row> {
  text: string;
  /** For programs. */
  value: unknown;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
}

async function answered<Row>(
  answer: Answer<Row>,
  form: Form,
  context: Surroundings,
): Promise<Printed> {
  if (form === "text") return { text: answer.text };
  if (form !== "table") return { text: await structured(answer.value, form) };
  const said = await shown({ ...answer, name: () => "" }, form, context);
  return typeof said === "string" ? { text: said } : said;
}

/** An image that was brought in. */
function broughtIn(value: ImageRow, form: Form, context: Surroundings): Promise<Printed> {
  return answered({ text: value.id, value, rows: [value], columns }, form, context);
}

/** Columns that are called as the fields are. */
function fieldColumns(...fields: string[]): Column<Readonly<Record<string, string>>>[] {
  return fields.map((field) => ({ title: field.toUpperCase(), text: (row) => row[field] ?? "" }));
}

/** One thing with a few fields. */
function one(
  fields: Readonly<Record<string, string>>,
  text: string,
  form: Form,
  context: Surroundings,
) {
  const columns = fieldColumns(...Object.keys(fields));
  return answered({ text, value: fields, rows: [fields], columns }, form, context);
}

/** What went: names, and images with their last. */
function gone(removed: Removed, text: string, form: Form, context: Surroundings): Promise<Printed> {
  const rows = [
    ...removed.names.map((name) => ({ removed: "name", name })),
    ...removed.images.map((id) => ({ removed: "image", name: id })),
  ];
  return answered(
    { text, value: removed, rows, columns: fieldColumns("removed", "name") },
    form,
    context,
  );
}

const list = command({
  summary: "List the images in the store",
  aliases: ["ls"],
  details: ["The one used last comes first. Layers that images share count in the size of each."],
  args: [],
  flags: { quiet: listFlags.quiet, format: listFlags.format, output: listFlags.output },
  instead: {
    "-a": "All are listed; leave it out",
    "--all": "All are listed; leave it out",
    "-f": "Write --output json and use jq",
    "--filter": "Write --output json and use jq",
    "--no-trunc": "--quiet and --output json have whole ids",
    "--digests": "--output json and kurma image show have them",
  },
  examples: [
    ["kurma image list", "A table"],
    ["kurma image list -o json | jq -r '.[].id'", "All ids, for a script"],
  ],
  async run(context, _args, how) {
    const rows = await (await imageStore(context)).list();
    const [id, name] = [({ id }: ImageRow) => id, ({ names, id }: ImageRow) => names[0] ?? id];
    return await listed({ rows, columns, name, id }, how, context);
  },
});

const show = command({
  summary: "Show all that the store knows of an image",
  aliases: ["inspect"],
  args: ["image"],
  flags: {
    output: choice("How to show it", ["json", "yaml", "table"], {
      short: "o",
      placeholder: "FORM",
    }),
  },
  examples: [
    ["kurma image show team/app:1.2", "By its name"],
    ["kurma image show 3f2a91c0 -o yaml", "By the first digits of its id"],
  ],
  async run(context, { image }, { output }) {
    const value = await (await imageStore(context)).show(image);
    const rows = Object.entries(value).map(([field, value]) => ({
      field,
      value: typeof value === "string" ? value : JSON.stringify(value),
    }));
    const columns = fieldColumns("field", "value");
    return await answered({ text: "", value, rows, columns }, output, context);
  },
});

const pull = command({
  summary: "Bring an image from elsewhere into the store",
  details: [
    "REFERENCE is a name in a registry, docker.io if it says none, the URL of a file, or an appc " +
    "name (appc://NAME); a path is imported. A pull that was cut short goes on where it stopped. Prints the image's id.",
  ],
  args: ["reference"],
  flags: { quiet, output },
  instead: {
    "-a": "Name each tag",
    "--all-tags": "Name each tag",
    "--platform": "An image of this machine's platform is chosen; leave it out",
  },
  examples: [
    ["kurma image pull busybox", "The latest one of Docker Hub"],
    ["kurma image pull registry.example.com:5000/team/app:1.2", "From a registry of your own"],
  ],
  async run(context, { reference }, { quiet, output }) {
    const store = await imageStore(context);
    return await broughtIn(await store.pull(reference, await progress(quiet)), output, context);
  },
});

const push = command({
  summary: "Bring an image of the store into a registry",
  details: [
    "Without REFERENCE it goes where IMAGE says as a name. Manifest, config and layers go as they " +
    "came. Prints the digest that the reference names now.",
  ],
  args: ["image", "reference?"],
  flags: { quiet, output },
  examples: [
    ["kurma image push registry.example.com/team/app:1.2", "By its own name"],
    ["kurma image push 3f2a91c0 registry.example.com/team/app", "Under another one"],
  ],
  async run(context, { image, reference }, { quiet, output }) {
    const store = await imageStore(context);
    const digest = await store.push(image, reference, await progress(quiet));
    return await one({ image, reference: reference ?? image, digest }, digest, output, context);
  },
});

const bringIn = command({
  summary: "Bring an image into the store",
  aliases: ["upload"],
  details: [
    "FILE is an ACI, an OCI image layout (a folder or a tar, PATH[:TAG]), an archive of docker " +
    "save, or - for standard input. Without --name it keeps the names that its archive has. Prints " +
    "the image's id.",
  ],
  args: ["file"],
  flags: {
    name: string("What kurma run and the other commands call it", { placeholder: "NAME" }),
    quiet,
    output,
  },
  instead: {
    "-i": "Write the file as it is: kurma image import FILE",
    "--input": "Write the file as it is: kurma image import FILE",
  },
  examples: [
    ["kurma image import busybox.aci --name busybox", "Run it as busybox from now on"],
    ["kurma image import - --name app < app.tar", "From standard input"],
  ],
  async run(context, { file }, { name, quiet, output }) {
    const store = await imageStore(context);
    return await broughtIn(await store.bringIn(file, name, await progress(quiet)), output, context);
  },
});

const tag = command({
  summary: "Give an image one more name",
  details: ["Another image that has the name loses it. Prints the name as it is kept."],
  args: ["image", "name"],
  flags: { output },
  examples: [
    ["kurma image tag busybox busybox:stable", "busybox:stable is the same image from now on"],
    ["kurma image tag 3f2a91c0 team/app:1.2", "A name for an image that has none"],
  ],
  async run(context, { image, name }, { output }) {
    const kept = await (await imageStore(context)).tag(image, name);
    return await one({ image, name: kept }, kept, output, context);
  },
});

const rm = command({
  summary: "Remove images, or names of theirs",
  details: [
    "A name goes alone while the image has others; its last name, or its id, takes the image along. " +
    "What a container uses stays.",
  ],
  args: ["image+"],
  flags: { force: boolean("Pass over what is not there", { short: "f" }), output },
  instead: { "--no-prune": "Layers that no image needs go with kurma image prune" },
  examples: [
    ["kurma image rm busybox:stable", "The name, or the image if that was its last"],
    ["kurma image rm 3f2a91c0", "The image with all its names"],
  ],
  async run(context, { image }, { force, output }) {
    const store = await imageStore(context);
    const all: Removed[] = [];
    for (const each of image) {
      try {
        all.push(await store.remove(each));
      } catch (error) {
        const isGone = error instanceof KurmaError && error.code === "missing";
        if (!force || !isGone) throw error;
      }
    }
    const text = all.flatMap(({ names, images }) => [...names, ...images]).join("\n");
    const removed = {
      names: all.flatMap(({ names }) => names),
      images: all.flatMap(({ images }) => images),
    };
    return await gone(removed, text, output, context);
  },
});

const prune = command({
  summary: "Remove images without a name, and what no image needs",
  details: ["Prints the id of each image that went. What a container uses stays."],
  args: [],
  flags: {
    "max-size": bytes("Remove the least recently used too, until all take no more", {
      placeholder: "SIZE",
    }),
    output,
  },
  examples: [
    ["kurma image prune", "Only what nobody can call by a name"],
    ["kurma image prune --max-size 20GiB", "And the oldest, until 20 GiB are left"],
  ],
  async run(context, _args, { "max-size": maxBytes, output }) {
    const removed = await (await imageStore(context)).prune(maxBytes);
    return await gone(removed, removed.images.join("\n"), output, context);
  },
});

const takeOut = command({
  summary: "Write an image out of the store",
  details: [
    "As an OCI image layout: a tar if FILE ends with .tar, otherwise a folder; or as an archive for " +
    "docker load. An ACI is written as the file that it came as. FILE must not exist.",
  ],
  args: ["image", "file"],
  flags: {
    format: choice("What to write", ["oci", "docker"], { placeholder: "FORMAT" }),
    tag: string("Its tag in there, instead of that of its name"),
    quiet,
    output,
  },
  examples: [
    ["kurma image export busybox busybox.tar", "For skopeo, podman, or another Kurma"],
    ["kurma image export busybox ./layout --tag stable", "A folder, with a tag of your choice"],
    ["kurma image export busybox busybox.tar --format docker", "For docker load and podman load"],
  ],
  async run(context, { image, file }, { format, tag, quiet, output }) {
    const store = await imageStore(context);
    await store.takeOut(image, file, { format, tag, onProgress: await progress(quiet) });
    return await one({ image, file }, file, output, context);
  },
});

const verify = command({
  summary: "Read the whole store again, say what is damaged, and repair it",
  details: [
    "Each layer is unpacked again beside what is there and compared, which takes room for one layer. A " +
    "damaged layer is fetched again from where it was pulled, and unpacked again. Prints a line for " +
    "each damage: the image, the blob or layer, the problem, and what was done or is to be done. The " +
    `status is ${damagedStatus} if something is still damaged.`,
  ],
  args: [],
  flags: {
    "check-only": boolean("Change nothing: only say what is damaged"),
    output,
  },
  examples: [
    ["kurma image verify", "Silent if all is well"],
    ["kurma image verify --check-only -o json | jq length", "How much is damaged"],
  ],
  async run(context, _args, { output, "check-only": checkOnly }) {
    // In a pipe it stays silent while all is well.
    const onProgress = await progress(!Deno.stderr.isTerminal());
    const damages = await (await imageStore(context)).verify(checkOnly, onProgress);
    const answer = {
      text: damages.map(damageLine).join("\n"),
      value: damages,
      rows: damages,
      columns: damageColumns,
    };
    const isDamaged = damages.some(({ repaired }) => repaired === undefined);
    const status = isDamaged ? damagedStatus : 0;
    return { ...await answered(answer, output, context), status };
  },
});

const damageColumns: readonly Column<Damage>[] = [
  { title: "IMAGE", text: ({ image }) => shortId(image) },
  { title: "DIGEST", text: ({ digest }) => shortId(digest) },
  { title: "PATH", text: ({ path }) => path === undefined ? "" : `/${path}` },
  { title: "PROBLEM", text: ({ problem }) => problem, shrinks: true },
  { title: "OUTCOME", text: ({ repaired, fix }) => repaired ?? fix ?? "" },
];

function damageLine({ image, digest, path, problem, repaired, fix }: Damage): string {
  const what = path === undefined ? problem : `/${path} ${problem}`;
  const outcome = repaired ?? fix;
  return `${image} ${digest} ${what}${outcome === undefined ? "" : `: ${outcome}`}`;
}

/** The commands about images. */
export const image: Group = {
  summary: "Images: what is in the store, what comes into it and goes out again",
  commands: { pull, push, import: bringIn, list, show, tag, export: takeOut, rm, prune, verify },
  elsewhere: {
    build: "Images are made elsewhere, as with buildah; kurma image import brings them in",
    load: "Write kurma image import FILE, or - for standard input",
    save: "Write kurma image export IMAGE FILE",
    history: "kurma image show has what is known of an image",
  },
  examples: [
    ["kurma image import busybox.aci --name busybox", "Bring one in"],
    ["kurma image list", "See what is there"],
  ],
};

/** A name without what every name of that kind has. */
export function familiar(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, "");
}

/** Twelve digits of an id, as people compare them. */
function shortId(id: string): string {
  return id.slice(id.search(/[:-]/) + 1).slice(0, 12);
}
