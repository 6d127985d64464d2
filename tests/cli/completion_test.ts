/** The completion scripts, loaded into the shells they are for. */

import { assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";

/** Prints what bash offers for the words "$@", the last of which is under the cursor. */
const inBash = `
compopt() { :; } # Works only while a key is pressed.
source kurma.bash
COMP_WORDS=("$0" "$@") COMP_CWORD=$#
_kurma kurma
printf '%s\\n' "\${COMPREPLY[@]}"
`;

/** Types "$1" and a tab into a shell on a terminal of its own, and waits for "$2". */
const inZsh = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -U compinit; compinit -D -u; source ./kurma.zsh; print READ''Y'
zpty -r shell line '*READY*'
zpty -w -n shell "$1"$'\\t'
zpty -r shell line "*$2*"
zpty -d shell
print found
`;

/** A shell that finds kurma by its name, in a folder with the scripts. */
function shellTest(
  shell: string,
  body: (ask: (script: string, ...words: string[]) => Promise<string>) => Promise<void>,
) {
  test(`completion in ${shell}`, async ({ dir, kurma }) => {
    await kurma(["install", "--symlinks", dir]);
    const { stdout } = await kurma(["completion", shell]);
    await Deno.writeTextFile(`${dir}/kurma.${shell}`, stdout);
    await body((script, ...words) => {
      const args = shell === "fish" ? ["-c", script, ...words] : ["-c", script, "kurma", ...words];
      const env = { PATH: `${dir}:/usr/bin:/bin`, HOME: dir, XDG_CONFIG_HOME: dir, TERM: "dumb" };
      return mustRun([`/usr/bin/${shell}`, ...args], { cwd: dir, env });
    });
  });
}

shellTest("bash", async (ask) => {
  assertEquals(await ask(inBash, "vers"), "version\n");
  assertEquals(await ask(inBash, "help", "ins"), "install\n");
  assertEquals(await ask(inBash, "install", "--sym"), "--symlinks\n");
  assertEquals(await ask(inBash, "completion", ""), "bash\nzsh\nfish\n");
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
