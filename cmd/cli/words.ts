/**
 * Words that people type by habit: of docker and podman, and of the first Kurma.
 *
 * @module
 */

/** Words that stand for others. */
export const shortcuts: Readonly<Record<string, readonly string[]>> = {
  container: [],
  images: ["image", "list"],
  pull: ["image", "pull"],
  push: ["image", "push"],
  tag: ["image", "tag"],
  rmi: ["image", "rm"],
  pods: ["pod", "list"],
  volumes: ["volume", "list"],
  info: ["status"],
};

/** Single hyphens in front of long names, as the first Kurma took them. */
export const singleHyphens: Readonly<Record<string, string>> = {
  "-host": "--host",
  "-ver": "--version",
  "-version": "--version",
  "-vv": "--verbose",
  "-vvv": "--verbose",
  "-verbose": "--verbose",
  "-very-verbose": "--verbose",
};

const quiet = "There is nothing more to say; what the daemon does is in its log";

/** What to say to flags of every command that are not there. */
export const commonInstead: Readonly<Record<string, string>> = {
  "--verbose": quiet,
  "-d": quiet,
  "-D": quiet,
  "--debug": quiet,
  "--log-level": quiet,
};
