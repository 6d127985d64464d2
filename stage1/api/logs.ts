/**
 * The log of a container over the API.
 *
 * @module
 */

import { isUp } from "../containers/host.ts";
import { type LogRecord, readLog } from "../containers/logs.ts";
import type { Manager } from "../containers/manager.ts";
import { type LogsRequest, Stream } from "./kurma.gen.ts";
import { timeOf, timestamp } from "./messages.ts";

/** What one answer holds of text at most; one line more may be in it. */
const answerBytes = 64 * 1024;

/** Lines as they are read, and as they come. */
export async function* logsOf(manager: Manager, request: LogsRequest, signal: AbortSignal) {
  const container = manager.get(request.container);
  const wanted = request.stream === Stream.ERROR ? "stderr" : "stdout";
  const message = ({ time, stream, text, partial }: LogRecord) => ({
    stream: stream === "stdout" ? Stream.OUTPUT : Stream.ERROR,
    ...(request.timestamps ? { time: exactTime(time) } : {}),
    text,
    partial,
  });
  const batches = readLog(manager.logFolder(container.id), {
    follow: request.follow,
    since: timeOf(request.since),
    until: timeOf(request.until),
    tail: request.tail,
    signal,
    ended: () => {
      const { restart } = manager.host.live.find(container);
      return !isUp(container) && restart === undefined;
    },
  });
  for await (const records of batches) {
    let lines: ReturnType<typeof message>[] = [];
    let bytes = 0;
    for (const record of records) {
      if (request.stream !== Stream.UNSPECIFIED && record.stream !== wanted) continue;
      lines.push(message(record));
      bytes += record.text.length;
      if (bytes < answerBytes) continue;
      yield { lines };
      [lines, bytes] = [[], 0];
    }
    if (lines.length > 0) yield { lines };
  }
}

/** RFC 3339 with nanoseconds, in full. */
function exactTime(text: string) {
  const nanos = Number(text.slice(20, 29));
  return { ...timestamp(Date.parse(`${text.slice(0, 19)}Z`)), nanos };
}
