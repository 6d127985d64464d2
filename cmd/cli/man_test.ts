import { assertEquals, assertMatch } from "../../tests/assert.ts";
import { command, type Entry } from "./command.ts";
import { choice } from "./flags.ts";
import { manPages } from "./man.ts";
import { statuses } from "./statuses.ts";

const say = command({
  summary: "Say it",
  details: [".profile and 'quotes' are no markup, \\fI nor this"],
  args: ["word*"],
  flags: { tone: choice("How", ["low", "loud"], { short: "t" }) },
  examples: [["kurma say hello", "Says hello"]],
  run: () => "",
});
const top: Entry = {
  summary: "All",
  commands: { say, secret: command({ ...say, hidden: true, run: () => "" }) },
  examples: [],
};

Deno.test("manPages() writes a page a command, and none for hidden ones", () => {
  const pages = manPages(top, {}, "1.0");
  assertEquals(pages.map(({ file }) => file), ["kurma.1", "kurma-say.1"]);
  assertEquals(
    pages[1].text,
    String.raw`
.\" Written by kurma install --man.
.TH KURMA\-SAY 1 "" "Kurma 1.0" "Kurma"
.SH NAME
kurma\-say \- Say it
.SH SYNOPSIS
.B kurma say
[FLAG...] [WORD...]
.SH DESCRIPTION
.PP
\&.profile and \(aqquotes\(aq are no markup, \efI nor this
.SH OPTIONS
.TP
\fB\-t\fR, \fB\-\-tone\fR \fIWORD\fR
How (low, loud; default low)
.SH EXAMPLES
.TP
\fBkurma say hello\fR
Says hello
.SH SEE ALSO
.BR kurma (1)
`.slice(1),
  );
});

Deno.test("the first page and README.md name the same exit statuses", () => {
  const [{ text }] = manPages(top, {}, "1.0");
  const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));
  for (const [status, means] of statuses) {
    assertMatch(readme, new RegExp(RegExp.escape(`| ${status} | ${means} |`)));
    assertMatch(text, new RegExp(`\n${RegExp.escape(`\\fB${status}\\fR`)}\n`));
  }
});
