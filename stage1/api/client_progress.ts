/**
 * How far long work of the daemon is, as those who do the work themselves are told.
 *
 * @module
 */

import type { Progress } from "../images/mod.ts";
import { type ImageProgress, ImageProgress_Step as Step } from "./kurma.gen.ts";

/** What steps are called here. */
const steps: Readonly<Record<Step, Progress["step"]>> = {
  [Step.UNSPECIFIED]: "read",
  [Step.READ]: "read",
  [Step.UNPACKED]: "unpacked",
  [Step.PRESENT]: "present",
  [Step.UPLOADED]: "uploaded",
  [Step.WRITTEN]: "written",
  [Step.VERIFIED]: "verified",
};

/** A message about progress in our own words; a step that is not known is one of reading. */
export function progressOf({ step, subject, bytes, totalBytes }: ImageProgress): Progress {
  const total = Number(totalBytes);
  return {
    step: steps[step] ?? "read",
    subject,
    bytes: Number(bytes),
    ...(total === 0 ? {} : { total }),
  };
}
