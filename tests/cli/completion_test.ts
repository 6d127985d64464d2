/** The completion scripts, loaded into the shells they are for. */

import { assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Line } from "./line.ts";

/** Prints what bash offers for the line "kurma $*", at the end of which is the cursor. */
const inBash = `
compopt() { :; } # Works only while a key is pressed.
source kurma.bash
COMP_LINE="kurma $*"
read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$COMP_LINE")" # As bash splits it.
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_kurma kurma
printf '%s\\n' "\${COMPREPLY[@]}"
`;

/** Types "$1" and a tab into a shell on a terminal of its own, and waits for "$2". */
const typed = (shell: string, start: string) => `
zmodload zsh/zpty
zpty -e shell ${shell}
zpty -w shell '${start}; echo READ""Y'
zpty -r shell line '*READY*'
zpty -w -n shell "$1"$'\\t'
zpty -r shell line "*$2*"
zpty -d shell
print found
`;

const inZsh = typed("zsh -f -i", "autoload -U compinit; compinit -D -u; source ./kurma.zsh");
const typedInBash = typed("bash --norc --noprofile -i", "source ./kurma.bash");

/** Asks a shell; the words are those of its script. */
type Ask = (script: string, ...words: string[]) => Promise<string>;

/** A folder in which a shell finds kurma by its name, and its script. */
async function shellIn(
  dir: string,
  shell: string,
  kurma: (args: readonly string[]) => Promise<{ stdout: string }>,
  more: Record<string, string> = {},
): Promise<Ask> {
  await kurma(["install", "--symlinks", dir]);
  const { stdout } = await kurma(["completion", shell]);
  await Deno.writeTextFile(`${dir}/kurma.${shell}`, stdout);
  return (script, ...words) => {
    // The shell that types is zsh, whoever listens.
    const program = script.includes("zpty") ? "zsh" : shell;
    const args = program === "fish" ? ["-c", script, ...words] : ["-c", script, "kurma", ...words];
    const paths = { PATH: `${dir}:/usr/bin:/bin`, HOME: dir, XDG_CONFIG_HOME: dir, TERM: "dumb" };
    return mustRun([`/usr/bin/${program}`, ...args], { cwd: dir, env: { ...paths, ...more } });
  };
}

function shellTest(shell: string, body: (ask: Ask) => Promise<void>) {
  test(`completion in ${shell}`, async ({ dir, kurma }) => {
    await body(await shellIn(dir, shell, kurma));
  });
}

shellTest("bash", async (ask) => {
  assertEquals(await ask(inBash, "vers"), "version\n");
  assertEquals(await ask(inBash, "help", "ins"), "install\n");
  assertEquals(await ask(inBash, "install", "--sym"), "--symlinks\n");
  assertEquals(await ask(inBash, "completion "), "bash\nzsh\nfish\n");
  assertEquals(await ask(inBash, "list --output=j"), "json\n");
  assertEquals(await ask(typedInBash, "kurma vers", "kurma version"), "found\n");
});

shellTest("fish", async (ask) => {
  const source = "source kurma.fish; complete -C ";
  assertEquals(
    await ask(`${source} 'kurma vers'`),
    "version\tShow the version of this program, of what it runs on, and of the daemon\n",
  );
  assertEquals(
    await ask(`${source} 'kurma-cli install --sym'`),
    "--symlinks\tWhere to make the links\n",
  );
});

shellTest("zsh", async (ask) => {
  assertEquals(await ask(inZsh, "kurma vers", "kurma version"), "found\n");
  assertEquals(await ask(inZsh, "kurma-cli install --sym", "install --symlinks"), "found\n");
});

test("names of what there is complete, from the daemon", async ({ dir, kurma }) => {
  await using kurmad = await Kurmad.start(dir);
  const line = new Line(kurmad);
  for (const name of ["web", "weather"]) {
    await line.says(["create", "-n", name, kurmad.image, "true"]);
  }
  await line.says(["pod", "create", "--name", "shop", "--app", `web=${kurmad.image}`]);
  await line.says(["volume", "create", "site"]);
  const [{ id: image }] = (await kurmad.api.call("Images", "List", {})).images ?? [];
  await kurmad.api.call("Images", "Tag", { image, name: "box:1" });

  const env = { KURMA_HOST: kurmad.api.host };
  const names = (stdout: string) =>
    stdout.replaceAll(/\t.*/g, "").trim().split("\n").sort().join(" ");
  const bash = await shellIn(dir, "bash", kurma, env);
  for (
    const [words, offered] of [
      ["stop we", "weather web"],
      ["stop web we", "weather"],
      ["container inspect sh", "shop-web"],
      ["pod stop ", "shop"],
      ["volume rm s", "site"],
      ["create bo", "box:1"],
      ["create box:", "1"],
      ["cp we", "weather: web:"],
      ["cp ./x web", "web:"],
      ["stop zz", ""],
    ]
  ) {
    assertEquals(names(await bash(inBash, words)), offered, words);
  }
  await Deno.writeTextFile(`${dir}/website`, "");
  assertEquals(names(await bash(inBash, "cp web")), "web: website");
  assertEquals(names(await bash(inBash, `-H ${kurmad.api.host} stop web`)), "web");
  assertEquals(await bash(typedInBash, "kurma cp weat", "kurma cp weather:"), "found\n");
  assertEquals(await bash(typedInBash, "kurma create box:", "kurma create box:1"), "found\n");

  const fish = await shellIn(dir, "fish", kurma, env);
  for (const [words, offered] of [["stop we", "weather web"], ["pod stop sh", "shop"]]) {
    assertEquals(names(await fish(`source kurma.fish; complete -C 'kurma ${words}'`)), offered);
  }
  const zsh = await shellIn(dir, "zsh", kurma, env);
  assertEquals(await zsh(inZsh, "kurma stop weat", "kurma stop weather"), "found\n");
  assertEquals(await zsh(inZsh, "kurma cp weat", "kurma cp weather:"), "found\n");
  await kurmad.quit();
});

test("without a daemon, or with one that says nothing, no name is offered", async ({ dir, kurma }) => {
  using deaf = Deno.listen({ transport: "unix", path: `${dir}/deaf.sock` });
  for (const socket of [`${dir}/none.sock`, `${dir}/deaf.sock`]) {
    for (const words of [["stop", ""], ["pod", "rm", ""], ["volume", "rm", ""], ["create", ""]]) {
      const { status, stdout, stderr } = await kurma(["-H", socket, "complete", "--", ...words]);
      assertEquals([status, stderr, stdout.split("\n")[1]], [0, "", ""], words.join(" "));
    }
  }
  assertEquals(deaf.addr.transport, "unix");
});
