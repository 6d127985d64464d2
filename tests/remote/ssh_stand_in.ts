/**
 * What stands in for ssh in tests: it does as sshd does with a command, and gives the words to a
 * shell.
 *
 * @module
 */

/** Notes its arguments in `$FAKE_SSH/said`, and runs the command behind the destination. */
const script = `#!/bin/sh
echo "$*" >>"$FAKE_SSH/said"
while [ "$1" != -- ]; do shift; done
[ "$2" = nobody@far ] && { echo "nobody@far: Permission denied (publickey)." >&2; exit 255; }
shift 2
PATH=\${FAKE_SSH_PATH-$PATH} exec sh -c "$*"
`;

/**
 * Writes it to a folder of programs. What it runs is found in the folders of `FAKE_SSH_PATH`, if
 * there is that variable.
 */
export async function standInForSsh(folder: string): Promise<void> {
  await Deno.writeTextFile(`${folder}/ssh`, script, { mode: 0o755 });
}
