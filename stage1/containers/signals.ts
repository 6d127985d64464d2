/**
 * Signals by name, as images, users and the kernel know them.
 *
 * @module
 */

/** Linux's numbers on every architecture that Kurma runs on. signal(7) */
const numbers: ReadonlyMap<string, number> = new Map(
  [
    ...["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV"],
    ...["USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN"],
    ...["TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"],
  ].map((name, index) => [name, index + 1]),
);

const synonyms: ReadonlyMap<string, string> = new Map([
  ["IOT", "ABRT"],
  ["CLD", "CHLD"],
  ["POLL", "IO"],
]);

/** The first and the last that programs may use as they like; the C library keeps 32 and 33. */
const realtime = { min: 34, max: 64 };

/**
 * The number of a signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, in any case.
 *
 * @returns 1 to 64, or undefined if there is no such signal.
 */
export function signalNumber(text: string): number | undefined {
  if (/^[1-9][0-9]?$/.test(text)) return Number(text) <= realtime.max ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, "");
  const [, base, offset = "0"] = /^(RTMIN(?=\+|$)|RTMAX(?=-|$))([+-][0-9]{1,2})?$/.exec(name) ?? [];
  if (base === undefined) return numbers.get(synonyms.get(name) ?? name);
  const number = (base === "RTMIN" ? realtime.min : realtime.max) + Number(offset);
  return number >= realtime.min && number <= realtime.max ? number : undefined;
}

/** The name of a signal, for people: `SIGTERM`, `SIGRTMIN+3`. */
export function signalName(number: number): string {
  if (number >= realtime.min && number <= realtime.max) {
    return number === realtime.min ? "SIGRTMIN" : `SIGRTMIN+${number - realtime.min}`;
  }
  const name = [...numbers.keys()][number - 1];
  return name === undefined ? `signal ${number}` : `SIG${name}`;
}
