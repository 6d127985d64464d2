/**
 * Kurma on a terminal, as people see it: tmux is the terminal and the one who types. With a
 * daemon and without.
 */

import { assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, run, type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { until } from "../stage2/served.ts";
import { prompt, Window } from "./window.ts";

/** Where containers are run: without a daemon, or by one. */
interface Side {
  readonly name: string;
  readonly env: Record<string, string>;
}

/** Tells `story` in a window whose shell knows the image and the binary: `$kurma`, `$image`. */
function terminalTest(
  name: string,
  story: (window: Window, side: Side) => Promise<void>,
  sides: readonly ("alone" | "daemon")[] = ["alone", "daemon"],
): void {
  for (const side of sides) {
    const tell = async ({ dir }: Scratch, env: Record<string, string>) => {
      const { oci } = await images();
      await using window = await Window.open(dir, { ...env, kurma: binary, image: oci });
      await story(window, { name: side, env });
    };
    test(`${name}, ${side === "alone" ? "without a daemon" : "by a daemon"}`, async (scratch) => {
      if (side === "alone") return await tell(scratch, { KURMA_ROOT: `${scratch.dir}/state` });
      await using kurmad = await Kurmad.start(scratch.dir);
      await tell(scratch, { KURMA_HOST: kurmad.socket });
      await kurmad.quit();
    });
  }
}

/** Starts a shell in a container and waits for its prompt. */
async function opensShell(window: Window, flags = "--rm"): Promise<void> {
  await window.enters(`"$kurma" run -it ${flags} -e 'PS1=inside# ' "$image" sh`);
  await window.shows(/^inside#$/m);
}

/** Notes how the terminal is set. */
async function notesSettings(window: Window): Promise<void> {
  await window.enters("before=$(stty -g)");
  await window.clears();
}

/** That the terminal is as it was noted. */
async function isRestored(window: Window): Promise<void> {
  await window.shows(prompt);
  await window.clears();
  await window.enters('[ "$(stty -g)" = "$before" ] && echo as it was');
  await window.shows(/^as it was$/m);
}

terminalTest("a shell feels like a local one", async (window) => {
  await notesSettings(window);
  await opensShell(window);
  await window.enters("stty size; tty");
  await window.shows(/^24 80\n\/dev\/pts\/0$/m);
  await window.resizes(100, 31);
  // A shell between two commands is told the new size; asking again is no harm.
  await until("the new size", async () => {
    await window.enters("clear; stty size");
    await window.shows(/^\d+ \d+\ninside#$/m);
    return /^31 100$/m.exec(await window.screen()) ?? undefined;
  });
  await window.enters("clear; echo going to sleep; sleep 1000; echo status $?");
  await window.shows(/^going to sleep$/m);
  await window.presses("C-c");
  await window.shows(/^\^C\n(status 130\n)?inside#$/m);
  // What is typed before the shell has let go of the terminal would be the shell's.
  await window.enters("echo listening; cat; echo over $?");
  await window.shows(/^listening$/m);
  await window.enters("a line");
  await window.shows(/^a line\na line$/m);
  await window.presses("C-d");
  await window.shows(/^over 0$/m);
  await window.enters("(exit 5)");
  await window.shows(/^inside# \(exit 5\)\ninside#$/m);
  await window.presses("C-d");
  await window.shows(prompt);
  await window.enters('echo "status $?"');
  await window.shows(/^status 5$/m);
  await isRestored(window);
});

terminalTest("vi draws the whole screen, and leaves it", async (window) => {
  await notesSettings(window);
  await opensShell(window);
  await window.enters("vi /tmp/text");
  // busybox vi: tildes below the text, and its own line at the bottom of the screen.
  await window.shows(/^\n(~\n){22}- \/tmp\/text/);
  await window.types("ihello");
  await window.presses("Enter");
  await window.types("there");
  await window.presses("Escape");
  await window.shows(/^hello\nthere\n(~\n){21}- \/tmp\/text \[Modified\]/);
  await window.enters(":w");
  await window.shows(/\/tmp\/text.* 2L, 12C/);
  await window.enters(":q!");
  await window.shows(/^inside#$/m);
  await window.enters("clear; cat /tmp/text; exit");
  await window.shows(/^hello\nthere\n/m);
  await window.shows(prompt);
  await isRestored(window);
});

for (const signal of ["TERM", "HUP", "KILL"]) {
  // Nobody is left who could, if the client of a daemon is killed at once.
  const sides = signal === "KILL" ? ["alone"] as const : ["alone", "daemon"] as const;
  terminalTest(`the terminal is as it was after SIG${signal}`, async (window) => {
    await notesSettings(window);
    await window.enters('"$kurma" run -it --rm "$image" cat');
    await window.enters("typed");
    await window.shows(/^typed\ntyped$/m);
    Deno.kill(await window.foreground(), `SIG${signal}` as Deno.Signal);
    await window.shows(prompt);
    await isRestored(window);
  }, sides);
}

terminalTest("the detach keys leave a container, and attach comes back", async (window, side) => {
  await notesSettings(window);
  await opensShell(window, "--name box");
  await window.enters("here=still-$((20 + 3))");
  // The shell asks the terminal where the cursor is: its answer must not come between the keys.
  await window.shows(/here=.*\ninside#$/m);
  await window.presses("C-p");
  await window.presses("C-q");
  await window.shows(/^kurma: "box" goes on; kurma attach box comes back$/m);
  await isRestored(window);
  await window.enters('"$kurma" attach box');
  await window.presses("Enter");
  await window.shows(/^inside#$/m);
  await window.enters('echo "$here"');
  await window.shows(/^still-23\ninside#$/m);
  await window.presses("C-p", "C-q");
  await window.shows(prompt);
  await window.clears();
  await window.enters('"$kurma" attach --detach-keys ctrl-a,d box');
  await window.presses("Enter");
  await window.shows(/^inside#$/m);
  await window.presses("C-a");
  await window.types("d");
  await window.shows(/^kurma: "box" goes on; /m);
  const shown = await mustRun([binary, "list", "-o", "name"], { env: side.env });
  assertEquals(shown, "box\n");
  await isRestored(window);
}, ["daemon"]);

terminalTest("a client that is stopped gives the terminal back, and goes on", async (window) => {
  await notesSettings(window);
  await opensShell(window);
  await window.enters("here=still-$((20 + 3))");
  await window.shows(/here=.*\ninside#$/m);
  const client = await window.foreground();
  Deno.kill(client, "SIGTSTP");
  await window.shows(/Stopped/);
  await isRestored(window);
  await window.enters("fg");
  await window.enters('echo "$here"; exit 3');
  await window.shows(/^still-23$/m);
  await window.shows(prompt);
  await window.enters('echo "status $?"');
  await window.shows(/^status 3$/m);
  await isRestored(window);
}, ["daemon"]);

terminalTest("under script(1) it is a terminal too", async (window, side) => {
  const command = [
    "stty rows 31 cols 97; before=$(stty -g)",
    '"$kurma" run -it --rm "$image" sh -c "stty size; read -r key; echo got \\$key; exit 6"; echo "status $?"',
    '[ "$before" = "$(stty -g)" ] && echo as it was',
  ].join("; ");
  const { oci } = await images();
  const { stdout } = await run(["script", "-qc", command, "/dev/null"], {
    stdin: "key\r",
    env: { ...side.env, kurma: binary, image: oci },
  });
  assertMatch(stdout, /31 97\r+\n[^]*got key\r+\n[^]*status 6\r+\n[^]*as it was/);
  await window.shows(prompt);
});
