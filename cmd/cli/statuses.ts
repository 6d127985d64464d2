/**
 * The exit statuses of the command line, for its manual page.
 *
 * @module
 */

/** Each status and what it means, as README.md says it too. */
export const statuses: readonly (readonly [status: string, means: string])[] = [
  ["0", "done"],
  ["1", "a bug in Kurma"],
  ["2", "the command line, or what it names, cannot be used"],
  ["3", "something is not there"],
  [
    "4",
    "something is in the way: wait, stop or remove it first; or something was found to be bad " +
    "(kurma doctor, kurma image verify)",
  ],
  ["5", "not allowed"],
  ["6", "the kernel refused; the message names the step and the errno"],
  ["7", "a server elsewhere does not serve; try again later"],
  ["125", "of kurma run, exec, enter and attach: a failure of Kurma's own"],
  ["126", "of these: the command cannot be executed"],
  ["127", "of these: the command is not there"],
  ["128 + N", "signal N ended the command, or kurma itself: 130 after Ctrl-C"],
  ["141", "nobody read the output"],
];
